"""What a sandbox is: how a program is started in it and how it is ended."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from tunegate.harness.records.errors import TunegateError


class SandboxFailed(TunegateError):
    """The sandbox did not work: this says nothing about the program."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use."""

    cpu_s: float = 10.0
    """Seconds of processor time."""
    memory_mb: int = 1024
    """Memory of all its processes."""
    processes: int = 32
    """Processes and threads."""
    output_bytes: int = 1_000_000
    """Bytes that it may write to standard output."""
    disk_mb: int = 64
    """What it may keep under /tmp."""

    @property
    def wall_s(self) -> float:
        """Seconds until it is ended even if it only sleeps.

        Other work on the machine may slow a program down, so only processor time is held tightly.
        """
        return 3 * self.cpu_s + 5


@dataclass(frozen=True, slots=True)
class Invocation:
    """A program as the host starts it."""

    argv: tuple[str, ...]
    file: bytes | None = None
    """Content of a file that it reads; `FILE` in `argv` stands for its descriptor."""
    end: tuple[str, ...] = ()
    """Command that ends it, where killing the host's process is not enough."""


FILE = "{descriptor}"
BEGUN = b"tunegate: the program begins\n"
BEGIN = (
    *("sh", "-c"),
    f'command -v "$1" >&2 || exit 127; echo \'{BEGUN.decode().strip()}\' >&2; exec "$@"',
    "sh",
)
"""Command before a program's, the last step of a sandbox: what fails earlier is not its fault."""


class Sandbox(Protocol):
    """A sandbox, named by its file."""

    name: str

    def problem(self) -> str | None:
        """Return why it cannot be used here and what to do, in one line; None if it can."""

    def version(self) -> str:
        """Return its name and version, for the record."""

    def python(self) -> str:
        """Return the Python interpreter of programs in it."""

    def folder(self, host: Path) -> str:
        """Return where a program finds the files of the host's folder."""

    def invoke(self, command: Sequence[str], host: Path, limits: Limits) -> Invocation:
        """Return how to start a program that can read the files of `host` and nothing else."""


@cache
def read_version(*command: str) -> str | None:
    """Return the first line that a program prints of its version; None if it does not run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout.splitlines() or [""])[0] if done.returncode == 0 else None
