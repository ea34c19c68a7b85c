"""Calls with a time limit: a function runs in a child process that is killed at the limit.

Nothing in Python interrupts a regular expression or a C loop that runs away, and a thread cannot be
killed. One child serves all calls: it starts at the first, again after a kill, and ends when its
parent does. Arguments and results travel as JSON, one line each way.

Example:
    >>> run_with_timeout("math", "sqrt", 16, limit_s=1.0)
    4.0
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any

_START_LIMIT_S = 60.0
"""Seconds that starting Python and importing a module may take."""

_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from tunegate.harness import child_process; child_process.serve_requests()"
)


class CallTimeout(Exception):
    """The call had not ended at its time limit."""


class CallFailed(Exception):
    """The call raised, or its process ended; the message describes it."""


class _ChildProcess:
    """A process that answers one line with one line."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.modules: set[str] = set()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _MAIN, json.dumps([str(p) for p in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONHASHSEED": "0"},  # the order of sets, so of errors, is fixed
        )

    def usable(self) -> bool:
        """Whether it runs and was started by this process, not by one that forked us."""
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, request: list[Any], limit_s: float) -> Any:
        """Return the reply, or None if the process ended first."""
        timer = threading.Timer(limit_s, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            _pipe(self.process.stdin).write(_line(request))
            _pipe(self.process.stdin).flush()
            line = _pipe(self.process.stdout).readline()
        except OSError:
            return None
        finally:
            timer.cancel()
        return _value(line) if line.endswith(b"\n") else None

    def has_imported(self, module: str) -> bool:
        """Import `module` unless it is there already; False if the process ended."""
        if module not in self.modules:
            reply = self.ask([module, None, [], _START_LIMIT_S], _START_LIMIT_S)
            if reply is None:
                return False
            _result(reply)
            self.modules.add(module)
        return True

    def end(self) -> None:
        """Kill the process and close its pipes; a forked copy is left to its owner."""
        if self.owner != os.getpid():
            return
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                _pipe(pipe).close()
            except OSError:
                continue


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "both pipes are asked for in Popen"
    return stream


_lock = threading.Lock()
_child: _ChildProcess | None = None


def run_with_timeout(
    module: str, function: str, *arguments: Any, limit_s: float, needs: tuple[str, ...] = ()
) -> Any:
    """Return what `function` of `module` returns for `arguments`, all of it JSON.

    Args:
        module: Module of the function. Importing it is not counted in the limit.
        function: Name of the function.
        arguments: Arguments of the function.
        limit_s: Seconds that the call may take.
        needs: Modules that are imported first, and not counted either.

    Raises:
        CallTimeout: it did not end within `limit_s` seconds.
        CallFailed: it raised, or ended the process twice.
    """
    with _lock:
        for _ in range(2):  # a child that died between two calls is replaced
            child = _running_child()
            if not all(map(child.has_imported, (*needs, module))):
                child.end()
                continue
            start = time.monotonic()
            reply = child.ask([module, function, arguments, limit_s], limit_s)
            if reply is not None:
                return _result(reply)
            child.end()
            if time.monotonic() - start >= limit_s:
                raise CallTimeout(f"not done after {limit_s:g} s")
    raise CallFailed("its process ended")


def _running_child() -> _ChildProcess:
    global _child
    if _child is None:
        atexit.register(end_child)
    if _child is None or not _child.usable():
        end_child()
        _child = _ChildProcess()
    return _child


def _result(reply: dict[str, Any]) -> Any:
    if "error" in reply:
        raise CallFailed(reply["error"])
    return reply["result"]


def end_child() -> None:
    """End the child process; the next call starts a new one."""
    if _child is not None:
        _child.end()


def serve_requests() -> None:
    """Answer requests from standard input until it closes: the child's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends the child
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(_answer(line))
        sys.stdout.buffer.flush()


def _answer(line: bytes) -> bytes:
    """Return the reply to a request."""
    try:
        name, function, arguments, limit_s = _value(line)
        module = importlib.import_module(name)
        _set_alarm(limit_s + 1)  # ends this process where the parent that would kill it is dead
        try:
            return _line({"result": function and getattr(module, function)(*arguments)})
        finally:
            _set_alarm(0)
    except BaseException as error:  # a library in Rust panics with no Exception
        return _line({"error": f"{type(error).__name__}: {error}"[:500]})


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _line(message: Any) -> bytes:
    """Return JSON in which each half of a surrogate pair stays what it is."""
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _value(line: bytes) -> Any:
    return json.loads(line.decode("utf-8", "surrogatepass"))
