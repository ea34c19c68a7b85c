"""No sandbox: for jobs that run in a container of their own. It has to be named."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tunegate.harness.sandbox.contract import BEGIN, Invocation, Limits


class NoSandbox:
    """Programs run as the user who runs tunegate, with limits of time and memory only."""

    name = "none"

    def problem(self) -> str | None:
        """It works everywhere."""
        return None

    def version(self) -> str:
        """Return its name."""
        return self.name

    def python(self) -> str:
        """Return the interpreter that runs tunegate."""
        return sys.executable

    def folder(self, host: Path) -> str:
        """Return the host's folder."""
        return str(host)

    def invoke(self, command: Sequence[str], host: Path, limits: Limits) -> Invocation:
        """Return the command, with limits where util-linux is installed."""
        command = ("env", "-u", "PYTHONPATH", "PYTHONHASHSEED=0", *BEGIN, *command)
        if shutil.which("prlimit") is None:
            return Invocation(command)
        limited = (
            f"--cpu={math.ceil(limits.cpu_s)}",
            f"--data={limits.memory_mb * 2**20}",
            f"--fsize={limits.disk_mb * 2**20}",
        )
        return Invocation(("prlimit", *limited, "--core=0", "--", *command))


SANDBOX = NoSandbox()
