"""Gates that run while a coding agent does other things, one at a time."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunegate.harness.records.errors import UsageError

LOG = "gate.log"
"""What a gate printed, in its run folder."""
_BATCH_S, _STOP_S = 10.0, 10.0
"""Seconds that a gate that is told to stop has for its batch, and then to store answers."""


@dataclass
class GateJobs:
    """The gates of one server. The id of a job is the name of its run folder."""

    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _starting: threading.Lock = field(default_factory=threading.Lock)
    """Agents call tools in parallel, and the server runs each call in a thread."""

    def start(self, words: Sequence[str]) -> str:
        """Start `tunegate gate` with the arguments, and return the job's id."""
        with self._starting:
            return self._start(words)

    def _start(self, words: Sequence[str]) -> str:
        from tunegate.harness.run.folder_writer import new_run_folder

        if running := self.running():
            raise UsageError(f"{running} is running; wait for it, or stop it with stop_gate")
        folder = new_run_folder("agent")
        folder.mkdir(parents=True)
        command = [sys.executable, "-m", "tunegate.harness.cli", "gate", *words]
        with (folder / LOG).open("wb") as log:
            self.processes[folder.name] = subprocess.Popen(
                [*command, f"--run-dir={folder}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return folder.name

    def running(self) -> str | None:
        """Return the id of the job that runs."""
        return next((job for job, p in self.processes.items() if p.poll() is None), None)

    def exit_code(self, job: str) -> int | None:
        """Return the exit code of a job; None while it runs, or if another server started it."""
        process = self.processes.get(job)
        return None if process is None else process.poll()

    def stop(self, job: str, batch_s: float = _BATCH_S) -> None:
        """Stop a job when its batch is done, or at once after `batch_s` seconds."""
        process = self.processes[job]
        for seconds in (batch_s, _STOP_S):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                return
        process.kill()
        process.wait()

    def stop_all(self) -> None:
        """Stop the job that runs: without its server nobody would look after it.

        Clients kill a server two seconds after they told it to end.
        """
        if job := self.running():
            self.stop(job, batch_s=0.5)


def last_lines(folder: Path, count: int) -> list[str]:
    """Return the last lines of a gate's log."""
    try:
        text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]


def progress_line(folder: Path) -> str:
    """Return the last line of progress: ` 45% · base · tickets · 1:20 left`."""
    shares = [line for line in last_lines(folder, 50) if re.match(r"tunegate: +\d+%", line)]
    lines = shares or last_lines(folder, 1)
    return lines[-1].removeprefix("tunegate:").strip() if lines else "starting"
