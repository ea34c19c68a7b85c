"""Measuring a function in a process of its own: its seconds and its peak memory, nobody else's."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Measured:
    """What a function took."""

    seconds: float
    """Of the call itself, or what the function returned if that is a number."""
    peak: int
    """Largest resident memory of its process, in bytes."""


def apart(function: Callable[..., Any], *args: Any) -> Measured:
    """Call a function of a module in a new process; it may return its own seconds.

    Args:
        function: Importable, as are its arguments: they are pickled.
        *args: What it is called with.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_measured, function, args).result()


def _measured(function: Callable[..., Any], args: tuple[Any, ...]) -> Measured:
    start = time.perf_counter()
    told = function(*args)
    spent = time.perf_counter() - start
    return Measured(told if isinstance(told, float) else spent, peak_memory())


def peak_memory(status: Path = Path("/proc/self/status")) -> int:
    """Return the largest resident memory of this process so far, in bytes.

    Linux's VmHWM starts again with the program; `ru_maxrss`, which a child inherits from its
    parent, is the fallback elsewhere.
    """
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
