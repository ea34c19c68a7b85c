"""The axis of a chart: from values to places, with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AxisScale:
    """From values to places: `low` is at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(
        cls, values: Iterable[float], start: float, end: float, *, pad: float = 0.06
    ) -> AxisScale:
        """Return the scale that holds all values, with a share of its length free at both ends."""
        found = list(values) or [0.0]
        low, high = min(found), max(found)
        # Equal values are in the middle, whatever their size.
        room = (high - low) * pad or max(abs(low), 1.0) * 0.5
        return cls(low - room, high + room, start, end)

    def at(self, value: float) -> float:
        """Return a value's place, to a tenth; values beyond the ends are at the ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 1)

    def ticks(self, most: int = 7) -> tuple[float, ...]:
        """Return round values within the scale, 1, 2 or 5 times a power of ten apart."""
        least = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(least))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= least)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return tuple(i * step for i in range(first, last + 1))


def tick_text(value: float) -> str:
    """Return a tick's label: as few digits as needed."""
    return f"{round(value, 10) + 0.0:.6g}".replace("-", "−")
