"""Child processes that read and write lines: users' programs, and calls with a time limit.

Python cannot interrupt a runaway regular expression or kill a thread, so `run_with_timeout` calls a
function in a child process that is killed at the limit. One child serves all calls; it is started
again after a kill. Arguments and results are sent as JSON.

Example:
    >>> run_with_timeout("math", "sqrt", 16, limit_s=1.0)
    4.0
"""

from __future__ import annotations

import atexit
import importlib
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from tunegate.harness.records.errors import error_summary

_LONGEST_LINE = 10_000_000
_START_LIMIT_S = 60.0
"""Seconds that starting Python and importing a module may take."""

_OUT_OF_CPU_TIME = -signal.SIGPROF if hasattr(signal, "SIGPROF") else math.nan
"""Exit code of a process at the end of its timer of processor time (setitimer(2))."""

_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from tunegate.harness.contracts import child_process; child_process.serve_requests()"
)


class LineProcess:
    """A running program that reads and writes lines; `with` ends it."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        """Start the program; `options` are those of `subprocess.Popen`."""
        self._process = subprocess.Popen(
            [*command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            **options,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(grace_s=0.1 if error else 5.0)

    def is_running(self) -> bool:
        """Return whether the program has not ended."""
        return self._process.poll() is None

    def send(self, line: str) -> None:
        """Write a line; `receive` raises if the program has ended."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def receive(self, limit_s: float) -> str:
        """Return the next line.

        Raises:
            TimeoutError: there was none within `limit_s` seconds.
            EOFError: the program has closed its output.
        """
        try:
            line = self._lines.get(timeout=limit_s)
        except queue.Empty:
            raise TimeoutError(f"no answer within {limit_s:g} s") from None
        if line is None:
            raise EOFError("the program ended")
        return line

    def exit_code(self) -> int | None:
        """Return the exit code of a program that has closed its output."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=1.0)
        return None

    def close(self, grace_s: float = 0.0) -> None:
        """Close the program's input, and kill the program if it has not ended after `grace_s`."""
        assert self._process.stdin is not None
        with suppress(OSError):  # what was not sent is lost
            self._process.stdin.close()
        try:
            self._process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(timeout=1.0)  # a grandchild may keep the output open

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            with self._process.stdout as output:
                while line := output.readline(_LONGEST_LINE):
                    if len(line) == _LONGEST_LINE:  # the rest would pass for the next answer
                        break
                    self._lines.put(line)
        finally:
            self._lines.put(None)


class CallTimeout(Exception):
    """The call had not ended at its time limit."""


class OutOfCpuTime(CallTimeout):
    """The call used up the processor time that it had set itself with `limit_cpu`."""


class CallFailed(Exception):
    """The call raised, or its process ended; the message describes it."""


class _CallServer(LineProcess):
    """A Python process that calls functions."""

    def __init__(self) -> None:
        super().__init__(
            [sys.executable, "-P", "-c", _MAIN, json.dumps([str(p) for p in sys.path])],
            stderr=subprocess.DEVNULL,
            # the order of sets, so of errors, is fixed, and so is SQLite's local time
            env={**os.environ, "PYTHONHASHSEED": "0", "TZ": "UTC"},
        )
        self.owner = os.getpid()
        self.modules: set[str] = set()

    def import_module(self, name: str) -> None:
        if name not in self.modules:
            self.call(name, None, (), _START_LIMIT_S)
            self.modules.add(name)

    def call(self, module: str, function: str | None, arguments: Any, limit_s: float) -> Any:
        self.send(json.dumps([module, function, arguments, limit_s]))
        try:
            line = self.receive(limit_s)
        except TimeoutError:
            raise CallTimeout(f"not done after {limit_s:g} s") from None
        if not line.endswith("\n"):
            raise EOFError("the process ended while it wrote")
        reply = json.loads(line)
        if "error" in reply:
            raise CallFailed(reply["error"])
        return reply["result"]


_lock = threading.Lock()
_server: _CallServer | None = None


def run_with_timeout(module: str, function: str, *arguments: Any, limit_s: float) -> Any:
    """Call `function` of `module` with JSON arguments and return its JSON result.

    Args:
        module: Module of the function; the time to import it does not count.
        function: Name of the function.
        arguments: Arguments of the function.
        limit_s: Seconds that the call may take.

    Raises:
        CallTimeout: it took longer than `limit_s`.
        OutOfCpuTime: it used up what it had allowed itself with `limit_cpu`.
        CallFailed: it raised, or ended the process twice.
    """
    with _lock:
        for _ in range(2):  # a child that died between two calls is replaced
            server = _running_server()
            try:
                server.import_module(module)
                return server.call(module, function, arguments, limit_s)
            except CallTimeout:
                server.close()
                raise
            except EOFError:
                used_up = server.exit_code() == _OUT_OF_CPU_TIME
                server.close()
                if used_up:
                    raise OutOfCpuTime("out of processor time") from None
    raise CallFailed("its process ended")


def _running_server() -> _CallServer:
    global _server
    if _server is None:
        atexit.register(end_child)
    if _server is None or _server.owner != os.getpid() or not _server.is_running():
        end_child()
        _server = _CallServer()
    return _server


def end_child() -> None:
    """End the child process; the next call starts a new one."""
    if _server is not None and _server.owner == os.getpid():  # a fork leaves it to its parent
        _server.close()


def serve_requests() -> None:
    """Answer requests from standard input until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    for line in sys.stdin:
        sys.stdout.write(_answer(line) + "\n")
        sys.stdout.flush()


def _answer(line: str) -> str:
    """Return the reply to a request."""
    try:
        name, function, arguments, limit_s = json.loads(line)
        module = importlib.import_module(name)
        _set_alarm(limit_s + 1)  # in case the parent is dead
        try:
            return json.dumps({"result": function and getattr(module, function)(*arguments)})
        finally:
            _set_alarm(0)
    except BaseException as error:  # panics of Rust libraries are no Exception
        return json.dumps({"error": error_summary(error)})


@contextmanager
def limit_cpu(seconds: float) -> Iterator[None]:
    """End this child process if what is inside uses more processor time, even in one call of C.

    The caller of `run_with_timeout` gets OutOfCpuTime. Does nothing on Windows.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
