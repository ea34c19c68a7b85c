"""Records the traces of real client libraries into `tests/telemetry/read/recorded/`.

    python tools/recordings/record_traces.py PYTHON [NAME…]

Run it from the repository's environment; PYTHON is that of an environment with
`requirements.txt` of that folder in it and `earlier.txt` in its folder `earlier`. Each recording is
one process of `drive_client.py` against a scripted server on this machine, which keeps the
requests as they came over the wire: what a trace of them must give back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.fake_server import FakeServer  # noqa: E402  (a script finds its neighbours by path)
from tests.telemetry.read.trace_recordings import (  # noqa: E402
    RECORDED,
    RECORDINGS,
    Recording,
    reply,
)


def record(recording: Recording, python: Path, folder: Path) -> None:
    """Write `traces.jsonl`, `logs.jsonl` where there are logs, and `asked.jsonl` into a folder."""
    into = folder / recording.name
    into.mkdir(parents=True, exist_ok=True)
    for file in into.iterdir():
        file.unlink()
    environment = {
        **os.environ,
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": recording.content,
        "OTEL_SEMCONV_STABILITY_OPT_IN": recording.stability,
        "HF_HUB_OFFLINE": "0",  # offline, its client refuses even this machine
        "PYTHONPATH": str(python.parents[1] / "earlier") if recording.earlier else "",
    }
    with FakeServer(reply=reply, models={"base": {}}) as server:
        command = [str(python), str(Path(__file__).with_name("drive_client.py"))]
        command += [recording.library, recording.instrumentations, server.url, str(into)]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise SystemExit(f"{recording.name}: {ran.stdout}{ran.stderr}")
        asked = [json.dumps(body, ensure_ascii=False) for body in server.asked]
    (into / "asked.jsonl").write_text("\n".join(asked) + "\n", encoding="utf-8")
    if not (into / "logs.jsonl").stat().st_size:
        (into / "logs.jsonl").unlink()


def main(python: str, *names: str) -> None:
    """Record all, or those that are named."""
    RECORDED.mkdir(exist_ok=True)
    for recording in RECORDINGS:
        if not names or recording.name in names:
            record(recording, Path(python).absolute(), RECORDED)


if __name__ == "__main__":
    main(*sys.argv[1:])
