"""Stopping a run: Ctrl-C and SIGTERM, caught only while a gate runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.errors import Interrupted


@dataclass
class Stop:
    """Whether the user asked to stop, and how urgently."""

    requested: bool = False
    signal_number: int = signal.SIGINT

    def obey(self) -> None:
        """Raise Interrupted if the user asked to stop."""
        if self.requested:
            raise Interrupted(f"stopped by signal {self.signal_number}", self.signal_number)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """While open, the first Ctrl-C or SIGTERM finishes the batch, the second stops at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: Any) -> None:
        if stop.requested:
            raise Interrupted(f"stopped at once by signal {number}", number)
        stop.requested, stop.signal_number = True, number

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            # None: a handler set outside Python, which cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
