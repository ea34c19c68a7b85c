"""Calls with hard limits: a function runs in a child process that is killed at the limit.

Nothing in Python interrupts a regular expression or a C loop that runs away, a thread cannot be
killed, and memory is limited for a process alone. One child serves all calls of one purpose: it
starts at the first, again after a kill, and ends when its parent does. Arguments and results travel
as JSON, one line each way.

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
from pathlib import Path
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

    def __init__(self, text: str, reason: str | None = None) -> None:
        """Keep the text of what was raised, without its type."""
        super().__init__(text)
        self.reason = text if reason is None else reason


class CallTooLarge(CallFailed):
    """The call asked for more memory than it may take."""


class CallCrashed(CallFailed):
    """The call ended its process, twice."""


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
            reply = self.ask([module, None, [], _START_LIMIT_S, None], _START_LIMIT_S)
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
_children: dict[str, _ChildProcess] = {}
"""Purpose → the child that serves its calls."""


def run_with_timeout(
    module: str,
    function: str,
    *arguments: Any,
    limit_s: float,
    needs: tuple[str, ...] = (),
    memory_mb: int | None = None,
    purpose: str = "patterns",
) -> Any:
    """Return what `function` of `module` returns for `arguments`, all of it JSON.

    Args:
        module: Module of the function. Importing it is not counted in the limits.
        function: Name of the function.
        arguments: Arguments of the function.
        limit_s: Seconds that the call may take.
        needs: Modules that are imported before, and not counted either.
        memory_mb: Mebibytes that the call may take beyond what the child holds before it; None is
            no limit. Linux alone limits it.
        purpose: Calls of one purpose share a child, and what their modules keep in it.

    Raises:
        CallTimeout: it did not end within `limit_s` seconds.
        CallTooLarge: it asked for more than `memory_mb`.
        CallCrashed: it ended the process, and did so again in a new one.
        CallFailed: it raised.
    """
    with _lock:
        for _ in range(2):  # a child that died between two calls is replaced
            child = _running_child(purpose)
            if not all(map(child.has_imported, (*needs, module))):
                child.end()
                continue
            start = time.monotonic()
            reply = child.ask([module, function, arguments, limit_s, memory_mb], limit_s)
            if reply is not None:
                if reply.get("type") == "MemoryError":
                    child.end()  # what a call leaves behind is not counted to the next one
                return _result(reply)
            child.end()
            if time.monotonic() - start >= limit_s:
                raise CallTimeout(f"not done after {limit_s:g} s")
    raise CallCrashed("its process ended")


def _running_child(purpose: str) -> _ChildProcess:
    if not _children:
        atexit.register(end_children)
    child = _children.get(purpose)
    if child is None or not child.usable():
        if child is not None:
            child.end()
        child = _children[purpose] = _ChildProcess()
    return child


def _result(reply: dict[str, Any]) -> Any:
    if "type" not in reply:
        return reply["result"]
    text = f"{reply['type']}: {reply['text']}"[:500]
    if reply["type"] == "MemoryError":
        raise CallTooLarge(text)
    raise CallFailed(text, reply["text"] or reply["type"])


def end_children() -> None:
    """End all child processes; the next call starts one anew."""
    for child in _children.values():
        child.end()


def serve_requests() -> None:
    """Answer requests from standard input until it closes: the child's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends the child
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(_answer(line))
        sys.stdout.buffer.flush()


def _answer(line: bytes) -> bytes:
    """Return the reply to a request; writing it down is part of what the call may take."""
    try:
        name, function, arguments, limit_s, memory_mb = _value(line)
        module = importlib.import_module(name)
        _set_limits(limit_s, memory_mb)
        try:
            return _line({"result": function and getattr(module, function)(*arguments)})
        finally:
            _set_limits(0, None)
    except MemoryError:
        return _line({"type": "MemoryError", "text": ""})
    except BaseException as error:  # a library in Rust panics with no Exception
        return _line({"type": type(error).__name__, "text": str(error)[:2000]})


def _line(message: Any) -> bytes:
    """Return JSON in which each half of a surrogate pair stays what it is."""
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _value(line: bytes) -> Any:
    return json.loads(line.decode("utf-8", "surrogatepass"))


def _set_limits(limit_s: float, memory_mb: int | None) -> None:
    """Limit this process from here on; 0 and None lift the limits.

    The parent kills the child in time. The alarm ends it where the parent itself was killed.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, limit_s and limit_s + 1)
    status = Path("/proc/self/status")
    if sys.platform != "linux" or not status.is_file():
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if memory_mb is None:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        return
    field = status.read_text(encoding="ascii").partition("VmData:")[2].split()[0]
    most = int(field) * 1024 + memory_mb * 2**20
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
