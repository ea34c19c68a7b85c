"""A program in a sandbox: started, spoken to line by line, watched, and ended."""

from __future__ import annotations

import os
import select
import selectors
import signal
import subprocess
import time
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tunegate.harness.sandbox.contract import BEGUN, FILE, Invocation, Limits, SandboxFailed

_LOOK_S = 0.1
"""Seconds between two looks at what a program uses."""
_ERROR_BYTES = 64_000
"""How much of standard error is kept."""
_PIPE_BYTES = 4096
"""What a pipe takes at once if it takes anything (pipe(7))."""


class Exceeded(Exception):
    """The program went over a limit; the message is `time`, `memory`, `processes` or `output`."""


_running: weakref.WeakSet[SandboxedProcess] = weakref.WeakSet()


def end_all() -> None:
    """End every program that runs; those who wait for them get SandboxFailed."""
    for process in list(_running):
        process.stop()


class SandboxedProcess:
    """A running program; `with` ends it and everything that it has started."""

    def __init__(
        self, invocation: Invocation, limits: Limits, *, stdin: Path | None = None
    ) -> None:
        """Start it.

        Args:
            invocation: From the sandbox.
            limits: What it may use.
            stdin: File with its standard input; None keeps a pipe open for `send`.
        """
        self.limits = limits
        self.error = b""
        self.started = False
        """Whether the sandbox was made and the program itself began; read it after the end."""
        self._end = invocation.end
        self._pending = bytearray()
        self._read_bytes = 0
        self._started = self._looked = time.monotonic()
        source: IO[bytes] | int = subprocess.PIPE if stdin is None else stdin.open("rb")
        held = () if invocation.file is None else (_open_content(invocation.file),)
        file = str(held[0]) if held else ""
        try:
            self._process = subprocess.Popen(
                [file if word == FILE else word for word in invocation.argv],
                pass_fds=held,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxFailed(f"{invocation.argv[0]} cannot be started: {error}") from error
        finally:
            for descriptor in held:
                os.close(descriptor)
            if not isinstance(source, int):
                source.close()
        self._stopped = False
        _running.add(self)
        self._selector = selectors.DefaultSelector()
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def send(self, line: bytes) -> None:
        """Write a line; `read_line` returns "" if the program has ended."""
        assert self._process.stdin is not None
        place, left = self._process.stdin.fileno(), memoryview(line)
        with suppress(BrokenPipeError):
            while left:
                self._check()
                if select.select((), (place,), (), _LOOK_S)[1]:
                    left = left[os.write(place, left[:_PIPE_BYTES]) :]

    def read_line(self) -> bytes:
        """Return the next line; an incomplete or empty one if the program has ended."""
        end = self._pending.find(b"\n")
        while end < 0:
            piece = self._read()
            if not piece:
                end = len(self._pending)
                break
            newline = piece.find(b"\n")
            end = newline if newline < 0 else len(self._pending) + newline
            self._pending += piece
        line = bytes(self._pending[: end + 1])
        del self._pending[: end + 1]
        return line

    def read_all(self) -> bytes:
        """Return everything that the program writes until it ends."""
        pieces = []
        while piece := self._read():
            pieces.append(piece)
        return b"".join(pieces)

    def exit_code(self) -> int:
        """Wait for the end and return the exit code; 128 and a signal's number if it was killed."""
        while self._process.poll() is None:
            self._check()
            time.sleep(0.005)
        self._read_error()
        code = self._process.returncode
        return 128 - code if code < 0 else code

    def end(self) -> None:
        """Kill it with everything that it has started."""
        if self._process.poll() is None:
            if self._end:
                with suppress(OSError, subprocess.TimeoutExpired):
                    subprocess.run(self._end, capture_output=True, timeout=20, check=False)
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        elif not self._end:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _read(self) -> bytes:
        """Return the next piece of standard output; empty if the program has closed it."""
        while True:
            self._check()
            for key, _ in self._selector.select(timeout=_LOOK_S):
                piece = os.read(key.fd, 65_536)
                if self._stopped:
                    raise SandboxFailed("it was stopped")
                if key.fileobj is self._process.stderr:
                    self._keep_error(piece)
                    if not piece:
                        self._selector.unregister(key.fileobj)
                    continue
                self._read_bytes += len(piece)
                if self._read_bytes > self.limits.output_bytes:
                    raise Exceeded("output")
                return piece

    def _read_error(self) -> None:
        """Read what is left of standard error once the program has ended."""
        assert self._process.stderr is not None
        with suppress(OSError):  # nothing is left, but a child holds it open
            while piece := os.read(self._process.stderr.fileno(), 65_536):
                self._keep_error(piece)

    def _keep_error(self, piece: bytes) -> None:
        self.error = (self.error + piece)[-_ERROR_BYTES:]
        if not self.started:
            _, mark, rest = self.error.partition(BEGUN)
            if mark:
                self.started, self.error = True, rest

    def stop(self) -> None:
        """Kill it from another thread."""
        self._stopped = True
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _check(self) -> None:
        if self._stopped:
            raise SandboxFailed("it was stopped")
        now = time.monotonic()
        if now - self._started > self.limits.wall_s:
            raise Exceeded("time")
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        processes, memory = _usage(self._process.pid)
        # Those of the sandbox itself come on top.
        if processes > self.limits.processes + 4:
            raise Exceeded("processes")
        if memory > self.limits.memory_mb * 2**20:
            raise Exceeded("memory")


def _open_content(content: bytes) -> int:
    """Return a descriptor of a pipe that has the content, which is shorter than a page."""
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return reading


def _usage(pid: int) -> tuple[int, int]:
    """Return how many processes are under a process, itself included, and their memory."""
    waiting, processes, memory = [pid], 0, 0
    while waiting:
        process = waiting.pop()
        with suppress(OSError, ValueError, IndexError):
            memory += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
            processes += 1
            for thread in Path(f"/proc/{process}/task").iterdir():
                waiting += map(int, (thread / "children").read_text().split())
    return processes, memory


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
