"""What the charts share: a scale with round ticks, and the marks of a gate on it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateResult


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
        numbers = list(values) or [0.0]
        low, high = min(numbers), max(numbers)
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


def join_points(points: Iterable[tuple[float, float]]) -> str:
    """Return the points of a line as SVG writes them."""
    return " ".join(f"{x},{y}" for x, y in points)


def gate_values(gate: GateResult) -> list[float]:
    """Return the numbers that a gate's drawing has to hold."""
    kind = gate_kind(gate.kind)
    values = (kind.value(gate), gate.low, gate.high, kind.boundary(gate), kind.reference(gate))
    return [value for value in values if value is not None]


@dataclass(frozen=True, slots=True)
class GateMarks:
    """Places of a gate's marks on a scale; None for a mark that there is not."""

    point: float | None
    low: float
    high: float
    """Ends of the interval; the scale's end where an end is open."""
    has_interval: bool
    """Whether there is an interval."""
    bound: float | None
    reference: float | None
    """Zero for a difference, base for a level, one for a ratio."""
    zone: tuple[float, float] | None
    """Start and length of where the interval must be."""


def gate_marks(gate: GateResult, scale: AxisScale, edges: tuple[float, float]) -> GateMarks:
    """Return a gate's marks."""
    kind = gate_kind(gate.kind)

    def at(value: float | None) -> float | None:
        return None if value is None else scale.at(value)

    bound = at(kind.boundary(gate))
    edge = edges[kind.passes_above(gate)] if bound is not None else 0.0
    return GateMarks(
        point=at(kind.value(gate)),
        low=scale.at(scale.low if gate.low is None else gate.low),
        high=scale.at(scale.high if gate.high is None else gate.high),
        has_interval=gate.low is not None or gate.high is not None,
        bound=bound,
        reference=at(kind.reference(gate)),
        zone=None if bound is None else (min(edge, bound), round(abs(edge - bound), 1)),
    )
