"""Death watch: runs a command, and ends all of its processes when its own parent is gone.

    python kill_with_parent.py COMMAND …

The parent holds the other end of this process's standard input. When that closes, however the
parent ended, the command's process group gets SIGTERM, and SIGKILL after a grace. The same happens
when the command itself ends and leaves processes behind: vLLM's workers survive a killed API
process, with the memory they hold. Only the standard library is used, for a quick start.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

GRACE_S = 10.0
"""Seconds that the command's processes have to end by themselves."""
_SUBREAPER, _DEATH_SIGNAL = 36, 1
"""Options of Linux' prctl: orphans of ours become our children; a signal when the parent dies."""


def watched_command(command: Sequence[str]) -> list[str]:
    """Return a command that runs another one under this watch."""
    return [sys.executable, "-I", __file__, *command]


def end_watched(process: subprocess.Popen[bytes]) -> None:
    """End a process that runs `watched_command`: the watch sees its standard input close."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(2 * GRACE_S + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def watch(command: list[str]) -> int:
    """Run a command until it or the parent of this process ends; return its exit status."""
    _control(_SUBREAPER, 1)
    parent = os.getppid()
    for caught in (signal.SIGINT, signal.SIGHUP):
        signal.signal(caught, signal.SIG_IGN)
    ends = [False]
    signal.signal(signal.SIGTERM, lambda number, frame: ends.__setitem__(0, True))
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent
    )
    while child.poll() is None and not ends[0] and os.getppid() == parent:
        ready, _, _ = select.select([0], [], [], 0.2)
        if ready and not os.read(0, 1):
            break
    _end(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the command's process group and whatever else came from it."""
    for number, seconds in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        end = time.monotonic() + seconds
        for pid in _descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while time.monotonic() < end:
            child.poll()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not _descendants():
                child.poll()
                if child.returncode is None:
                    child.returncode = -number
                return
            time.sleep(0.05)


def _descendants() -> list[int]:
    """Return the processes that came from this one and run: orphans are its own children."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(path.parent.name)] = int(parent)
    descendants: list[int] = []
    family = {os.getpid()}
    while new := [pid for pid, parent in parents.items() if parent in family and pid not in family]:
        descendants += new
        family |= set(new)
    return descendants


def _die_with_parent() -> None:
    _control(_DEATH_SIGNAL, signal.SIGTERM)


def _control(option: int, value: int) -> None:
    """Call Linux' prctl; elsewhere only the process group is ended."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(watch(sys.argv[1:]))
