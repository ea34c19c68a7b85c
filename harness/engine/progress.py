"""Progress on the terminal: share done, speed, time left.

On a terminal one line is rewritten; in a log a line appears every few seconds, so that a silent
CI job can be distinguished from a hung one. A stream that is a `Bar` shows it in its own way.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TextIO, runtime_checkable

_ENOUGH = 0.02
"""Share of the work after which the time left is estimated; the first answers of a batch do not."""


def format_duration(seconds: float) -> str:
    """Return a time as people write it: `0:07`, `12:30`, `1:02:03`."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@runtime_checkable
class Bar(Protocol):
    """What a stream has that shows progress in its own way, not as lines."""

    def show_share(self, share: float, text: str) -> None:
        """Show that a share of the work is done."""

    def end_bar(self) -> None:
        """Take the bar away: the work is done, or has stopped."""


@dataclass
class ProgressReporter:
    """Counts finished work and prints progress, at most every `interval_s` seconds."""

    total: float
    """Work planned, in any unit that grows evenly with time (tokens to write)."""
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    interval_s: float | None = None
    """Least time between two messages; None is 10 s in a log, 0.5 s elsewhere."""
    clock: Callable[[], float] = time.monotonic
    done: float = 0.0
    tokens: int = 0
    _started: float = 0.0
    _shown_at: float = 0.0
    _open_line: bool = False

    def __post_init__(self) -> None:
        """Start the clock."""
        self._started = self._shown_at = self.clock()
        if self.interval_s is None:
            rewritten = self.stream.isatty() or isinstance(self.stream, Bar)
            self.interval_s = 0.5 if rewritten else 10.0

    def add(self, work: float, *, tokens: int, label: str) -> None:
        """Count finished work and print progress, if it is time."""
        self.done += work
        self.tokens += tokens
        if self.clock() - self._shown_at >= (self.interval_s or 0.0):
            self.show(label)

    def show(self, label: str) -> None:
        """Write the state now."""
        self._shown_at = self.clock()
        spent = self._shown_at - self._started
        share = min(1.0, self.done / self.total) if self.total else 1.0
        left = f" · {format_duration(spent / share - spent)} left" if share >= _ENOUGH else ""
        speed = f" · {self.tokens / spent:.0f} tokens/s" if self.tokens and spent > 0 else ""
        if isinstance(self.stream, Bar):
            self.stream.show_share(share, f"{label}{speed}{left}")
            return
        text = f"tunegate: {share:4.0%} · {label}{speed}{left}"
        if self.stream.isatty():
            self.stream.write(f"\r\x1b[2K{text}")
            self._open_line = True
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def close(self) -> None:
        """End the rewritten line, or the bar."""
        if isinstance(self.stream, Bar):
            self.stream.end_bar()
        if self._open_line:
            self.stream.write("\r\x1b[2K")
            self.stream.flush()
            self._open_line = False
