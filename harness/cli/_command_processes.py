"""Commands of tunegate in processes of their own that do not import the libraries again.

A process takes about ten seconds to import torch, Transformers and TRL. On Linux a server imports
them once and each command is a fork of it: its memory comes back when it ends, and nothing of one
command is left for the next.

Elsewhere each process begins anew. Forks of a process that has loaded system libraries are not safe
on macOS and do not exist on Windows; and the driver of an accelerator fails in forks once an import
has asked it, if only how many devices there are.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

_SERVER = "tunegate.harness.cli._command_server"
_IMPORTED_FROM = Path(__file__).absolute().parents[3]
"""The folder that holds the package `tunegate`."""
_ACCELERATORS = ("nvidia*", "kfd", "dxg", "accel*", "vfio/[0-9]*", "davinci*")
"""Device files of NVIDIA, AMD, WSL, Gaudi and TPU, and Ascend."""
_PATIENCE_S = 5.0
"""Seconds that a command has to end after an interrupt."""


def run_command(*args: str) -> int:
    """Run `tunegate` with some arguments in a process of its own and return its exit code."""
    return run_function(f"{__name__}:run_tunegate", *args)


def run_function(function: str, *args: str) -> int:
    """Call a function in a process of its own and return the exit code of that process.

    It is what the function gives to `sys.exit`, else 0 where it returns; the exit code of a command
    where it raises what the command line turns into one; negative where a signal ended the process.

    Args:
        function: `module:name`.
        args: Its arguments.
    """
    server = _server() if can_fork() else None
    if server is not None and server.is_ready():
        return server.run(function, args)
    code = f"import sys; from {__name__} import call_function as f; f(sys.argv[1], sys.argv[2:])"
    command = [sys.executable, "-P", "-c", code, function, *args]
    return subprocess.run(command, env=_environment(), check=False).returncode


def run_tunegate(*args: str) -> None:
    """Run `tunegate` in this process, which ends with its exit code."""
    from tunegate.harness.cli import main

    sys.argv = ["tunegate", *args]
    main()


def call_function(function: str, args: Sequence[str]) -> None:
    """Call `module:name`; errors that the command line knows end as they do there."""
    from tunegate.harness.cli import errors_as_exit_codes

    module, _, name = function.partition(":")
    with errors_as_exit_codes():
        getattr(import_module(module), name)(*args)


def can_fork(devices: Path = Path("/dev")) -> bool:
    """Return whether a process may be forked after it has imported torch.

    Args:
        devices: The folder of device files.
    """
    from tunegate.harness.records.manifest import installed_versions

    # A build for Intel's GPUs, whose device file is that of any graphics card.
    torch = installed_versions(("torch",)).get("torch", "")
    if sys.platform != "linux" or torch.endswith("+xpu"):
        return False
    patterns = () if torch.endswith("+cpu") else _ACCELERATORS
    return not any(any(devices.glob(pattern)) for pattern in patterns)


def _environment() -> dict[str, str]:
    """Return the environment with tunegate's own place among those of packages."""
    places = [str(_IMPORTED_FROM), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


class _CommandServer:
    """A process that has imported the libraries; it ends with this one."""

    def __init__(self) -> None:
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", _SERVER, str(requests), str(replies)],
            env=_environment(),
            pass_fds=(requests, replies),
        )
        os.close(requests)
        os.close(replies)
        self._told = os.fdopen(self._replies, encoding="utf-8")
        self._ready = False

    def is_ready(self) -> bool:
        """Wait for the imports; return False if the process ended over them, or since."""
        try:
            self._ready = self._ready or self._told.readline() == "ready\n"
        except BaseException:  # an interrupt: nothing has been asked yet
            self._process.kill()
            raise
        return self._ready and self._process.poll() is None

    def run(self, function: str, args: Sequence[str]) -> int:
        """Have a function called and return the exit code of its process."""
        child = 0
        try:
            os.write(self._requests, (json.dumps([function, args]) + "\n").encode("utf-8"))
            child = int(self._told.readline() or 0)
            if code := self._told.readline():
                return int(code)
        except BrokenPipeError:
            pass
        except BaseException:
            # The terminal has interrupted the command, too; another sender may not have.
            if not select.select([self._replies], [], [], _PATIENCE_S)[0]:
                _kill(child)
            raise
        _kill(child)  # the server was killed, and nobody waits for the command
        return -signal.SIGKILL


def _kill(process: int) -> None:
    if process:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


@cache
def _server() -> _CommandServer:
    return _CommandServer()
