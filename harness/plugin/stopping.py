"""SIGTERM while a gate run is at work: it ends pytest as Ctrl-C does, so that files get written.

The runner has handlers of its own while it makes completions; these cover opening the models and
scoring. They are in force while a run is made, and restored after.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STOPPED: list[int] = []
"""Signals that ended a run in this process."""


def last_signal() -> int:
    """Return the number of the signal that stopped this process's run: SIGINT unless told."""
    return _STOPPED[-1] if _STOPPED else int(signal.SIGINT)


@contextmanager
def stoppable() -> Iterator[None]:
    """While open, SIGTERM raises KeyboardInterrupt; outside the main thread nothing changes."""

    def stop(number: int, frame: Any) -> None:
        _STOPPED.append(number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
