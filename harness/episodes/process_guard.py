"""Process guard: environments neither print nor read the keyboard, nor change the folder."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.episode_environment import EnvironmentFailed


class _QuietOutput(io.TextIOBase):
    """Standard output that swallows what threads print that started after it was installed."""

    def __init__(self, real: TextIO) -> None:
        self.real = real
        self.known = set(threading.enumerate())

    def write(self, text: str) -> int:
        if threading.current_thread() not in self.known:
            if text.strip():
                lookup.warn(
                    f"the environment prints, which is not shown: {text.strip().splitlines()[0]!r}"
                )
            return len(text)
        return self.real.write(text)

    def flush(self) -> None:
        self.real.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class _ClosedInput(io.StringIO):
    """Standard input that fails when it is read."""

    def readline(self, *_: Any) -> Any:
        raise EnvironmentFailed("it reads standard input, which is closed to environments")

    read = readline


@contextmanager
def guard_process() -> Iterator[None]:
    """Guard output, input and the current directory from environments."""
    out, keyboard = sys.stdout, sys.stdin
    folder = Path.cwd() if Path().exists() else None
    sys.stdout = cast("TextIO", _QuietOutput(out))
    sys.stdin = _ClosedInput()
    try:
        yield
    finally:
        sys.stdout, sys.stdin = out, keyboard
        if folder is not None:
            with suppress(OSError):
                os.chdir(folder)
