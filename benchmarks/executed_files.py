"""Source files that a gate executes: `python -m benchmarks.executed_files`.

`tunegate gate` with two gates on 60 recorded answers, page included. Each file of `src/tunegate`
that is imported is counted once; the table is by room. What a run executes is what somebody has to
read who follows it, and most of the time it takes to start.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.start_up import write_project

SOURCES = Path(__file__).resolve().parents[1] / "src"
MOST = 170
"""Files at most."""
COMMAND = (
    "gate", "suites", "--base", "replay:base.jsonl", "--tuned", "replay:tuned.jsonl",
)  # fmt: skip
HOOK = """\
import atexit, os, sys

leave = os._exit

def note():
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    with open(os.environ["EXECUTED_FILES"], "w", encoding="utf-8") as lines:
        lines.writelines(f"{file}\\n" for file in sorted(filter(None, files)))

def noted(status):
    note()
    leave(status)

atexit.register(note)
os._exit = noted
"""
"""sitecustomize.py of the measured process: `sys.modules` at its end, however it ends."""


def main() -> int:
    """Print the number of files by room; return 1 if there are more than `MOST`."""
    with tempfile.TemporaryDirectory() as name:
        files = executed_files(Path(name))
    for room, count in sorted(Counter(map(room_of, files)).items()):
        print(f"{count:4}  {room}")
    print(f"{len(files):4}  files in all, wanted at most {MOST}")
    return int(len(files) > MOST)


def executed_files(folder: Path) -> list[Path]:
    """Run the gate in an empty folder; return the files that it executed, below `src/tunegate`.

    Raises:
        CalledProcessError: the gate did not end in SHIP.
    """
    write_project(folder)
    hook, found = folder / "hook", folder / "executed.txt"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(hook), str(SOURCES)]),
        "EXECUTED_FILES": str(found),
    }
    command = [sys.executable, "-m", "tunegate.harness.cli", *COMMAND]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    home = SOURCES / "tunegate"
    paths = map(Path, found.read_text(encoding="utf-8").splitlines())
    return [path.relative_to(home) for path in paths if path.is_relative_to(home)]


def room_of(file: Path) -> str:
    """Return the room of a file: `harness/gates`, `reports`, or `harness` for its contracts."""
    return "/".join(file.parts[:-1][:2]) or "tunegate"


if __name__ == "__main__":
    sys.exit(main())
