"""A program that is spoken to in lines, with a deadline on each."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_LONGEST_LINE = 10_000_000


@dataclass
class Process:
    """A running program; `with` starts it and ends it."""

    command: Sequence[str]
    lines: queue.Queue[str | None] = field(default_factory=queue.Queue)
    silent: bool = False
    """Whether it said nothing until the deadline."""
    noise: str = ""
    """The last line that was no answer."""

    def __enter__(self) -> Self:
        self.running = subprocess.Popen(
            list(self.command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C is ours to handle
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            assert self.running.stdin is not None
            self.running.stdin.close()
        try:
            self.running.wait(timeout=0.1 if self.silent or error else 5.0)
        except subprocess.TimeoutExpired:
            self.running.kill()
            self.running.wait()
        self.reader.join(timeout=5.0)
        if self.running.stdout is not None and not self.reader.is_alive():
            self.running.stdout.close()

    def send(self, line: str) -> None:
        """Write a line; a program that has ended shows when its answer is waited for."""
        assert self.running.stdin is not None
        with contextlib.suppress(OSError):
            self.running.stdin.write(line + "\n")
            self.running.stdin.flush()

    def line(self, deadline_s: float) -> str | None:
        """Return the next line; None if the program ended, or was silent for too long."""
        try:
            return self.lines.get(timeout=deadline_s)
        except queue.Empty:
            self.silent = True
            return None

    def note(self, line: str) -> None:
        """Remember a line that was no answer."""
        self.noise = line

    def why(self, deadline_s: float) -> str:
        """Return in words why no answer comes any more."""
        noise = f"; it wrote {self.noise.strip()[:120]!r}" if self.noise else ""
        if self.silent:
            return f"no answer within {deadline_s:g} s{noise}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.running.wait(timeout=1.0)  # its output ends before it does
        code = self.running.poll()
        return f"the program ended (exit code {code}) without an answer{noise}"

    def _read(self) -> None:
        assert self.running.stdout is not None
        try:
            while line := self.running.stdout.readline(_LONGEST_LINE):
                self.lines.put(line)
        finally:
            self.lines.put(None)
