"""Interrupts: SIGINT and SIGTERM, handled only while a run is active.

SIGTERM during a gate run: it ends pytest as Ctrl-C does, so that files get written. The
runner has handlers of its own while it makes completions; these cover opening the models and
scoring. They are in force while a run is made, and restored after.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tunegate.harness.records.errors import RunInterrupted


@dataclass
class StopRequest:
    """Whether the user asked to stop, and how urgently."""

    requested: bool = False
    signal_number: int = signal.SIGINT

    def obey(self) -> None:
        """Raise Interrupted if the user asked to stop."""
        if self.requested:
            raise RunInterrupted(f"stopped by signal {self.signal_number}", self.signal_number)


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """While open, the first Ctrl-C or SIGTERM finishes the batch, the second stops at once."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: Any) -> None:
        if stop.requested:
            raise RunInterrupted(f"stopped at once by signal {number}", number)
        stop.requested, stop.signal_number = True, number

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            # None: a handler set outside Python, which cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


_STOPPED: list[int] = []
"""Signals that ended a run in this process."""


def last_signal() -> int:
    """Return the number of the signal that stopped this process's run: SIGINT by default."""
    return _STOPPED[-1] if _STOPPED else int(signal.SIGINT)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
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
