"""Managed server: a server process that tunegate starts, waits for, and ends in any case.

The process runs under `kill_with_parent`, which ends it with all its children as soon as this
process is gone. Its output goes to a log file.

Example:
    with ManagedServer.start(command, port=8001, log=Path("vllm.log")) as server:
        server.wait_until_ready(print)
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tunegate.harness.models.servers.kill_with_parent import end_watched, watched_command
from tunegate.harness.records.errors import ModelError

READY_S = 1800.0
"""Seconds that a server may take to load a model."""
_PROGRESS_S = 15.0
"""Seconds between two lines of progress."""
_EXCERPT = 200
"""Characters of a line of the log that a message quotes."""
_CORE_KILLED = re.compile(r"Failed core proc\(s\): \{.*: -9\b")
"""Text in vLLM's log when its engine core got SIGKILL."""


_PORT_TAKEN = ("address already in use", "couldn't bind")
_TRIES = 2


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class ManagedServer:
    """A server that was started and not yet ended."""

    name: str
    port: int
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)
    logged: int = 0
    """Bytes of the log from earlier starts, as before a resume."""
    end: Callable[[], object] = field(default=lambda: None, repr=False)

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        port: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> ManagedServer:
        """Start a server; it is ended by `stop`, or when this process ends.

        Args:
            name: What it is, for messages.
            command: Program and arguments.
            port: Where it will listen on the loopback address.
            log: File that its output is appended to.
            environment: Its environment variables; None is ours.
        """
        try:
            output = log.open("ab")
        except OSError as error:
            raise ModelError(f"{log}: the log of {name} cannot be written: {error}") from error
        logged = output.tell()
        with output:
            process = subprocess.Popen(
                watched_command(command),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(os.environ if environment is None else environment),
                start_new_session=True,
            )
        server = cls(name, port, log, process, logged)
        # Runs when the server is garbage-collected, and at the exit of this process.
        server.end = weakref.finalize(server, end_watched, process)
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def wait_until_ready(
        self, report: Callable[[str], None], *, limit_s: float = READY_S, health: str = "/health"
    ) -> None:
        """Wait until the server answers."""
        began = last = time.monotonic()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            with contextlib.suppress(urllib.error.URLError, OSError):
                opener.open(f"http://127.0.0.1:{self.port}{health}", timeout=5).close()
                return
            passed = time.monotonic() - began
            if not self.alive:
                raise ModelError(f"{self.name} {self._end()}: {self.last_error()}")
            if passed > limit_s:
                self.stop()
                raise ModelError(f"{self.name} was not ready after {passed:.0f} s; see {self.log}")
            if time.monotonic() - last > _PROGRESS_S:
                last = time.monotonic()
                doing = _cut(map(_without_prefix, self._lines()[-1:]))
                report(f"{self.name} is starting ({passed:.0f} s): {doing}")
            time.sleep(0.25)

    def _end(self) -> str:
        """Return how it ended while it started; a core's signal is in vLLM's log alone."""
        core = any(_CORE_KILLED.search(line) for line in self._lines())
        if core or self.process.returncode == 128 + signal.SIGKILL:
            return "was killed while it started, as the system does when memory runs out"
        return "ended while it started"

    def last_error(self) -> str:
        """Return the last line of the log that names an error, and where the log is."""
        lines = self._lines()
        last = max(
            (i for i, line in enumerate(lines) if _names_error(line)), default=len(lines) - 1
        )
        reason = _validation_error(lines[last:]) or map(_without_prefix, lines[last:][:1])
        return f"{_cut(reason)}; its log: {self.log}"

    def _lines(self) -> list[str]:
        try:
            with self.log.open("rb") as file:
                file.seek(max(self.logged, self.log.stat().st_size - 200_000))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()]

    def stop(self) -> None:
        """End the server and all its processes."""
        self.end()


def start_server(
    name: str,
    command: Callable[[int], Sequence[str]],
    *,
    log: Path,
    environment: Mapping[str, str],
    report: Callable[[str], None],
) -> ManagedServer:
    """Start a server and wait for it; retry with another port if this one was taken."""
    for attempt in range(_TRIES):
        port = free_port()
        server = ManagedServer.start(
            name, command(port), port=port, log=log, environment=environment
        )
        try:
            server.wait_until_ready(report)
            return server
        except ModelError as error:
            server.stop()
            if not any(t in str(error).lower() for t in _PORT_TAKEN) or attempt == _TRIES - 1:
                raise
        except BaseException:
            server.stop()
            raise
    raise AssertionError("a server has started, or its failure was raised")


def _names_error(line: str) -> bool:
    """Return whether a line is an exception's last one, or one of llama.cpp's errors."""
    if _LLAMA_ERROR.search(line):
        return True
    kind, colon, rest = _without_prefix(line).partition(": ")
    general = "See stack trace above" in rest or "Engine core initialization failed" in rest
    return bool(colon) and kind.replace(".", "").isidentifier() and "Error" in kind and not general


def _validation_error(lines: Sequence[str]) -> list[str]:
    """Return what pydantic finds wrong: it says so below the line that names the exception."""
    if not lines or not _VALIDATION.search(lines[0]):
        return []
    problems = itertools.takewhile(lambda line: _FURTHER not in line, lines[1:])
    return [_without_prefix(line.partition(" [type=")[0]) for line in problems]


_LLAMA_ERROR = re.compile(r"^[\d.]+ E .*(?:error loading model|couldn't bind|failed to load )")
_VALIDATION = re.compile(r"ValidationError: \d+ validation errors? for ")
_FURTHER = "For further information visit"


def _without_prefix(line: str) -> str:
    """Return a line of vLLM's log without process, level, time and source."""
    return line.rpartition("] ")[2] if line.startswith(("(", "ERROR", "INFO", "WARNING")) else line


def _cut(lines: Iterable[str]) -> str:
    text = " ".join("".join(c for c in line if c.isprintable()) for line in lines) or "no output"
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"
