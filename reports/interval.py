"""The drawing of a gate's interval: where each mark stands, in SVG units.

The shaded zone is where the whole interval must lie for the gate to pass (for an observed floor or
ceiling: where the estimate must lie). Gains and tolerances draw tuned − base around a zero in the
middle, each on its own scale, so that the zeros of a suite's gates are one line, as in a forest
plot; where base was asked twice, a band shows by how much it differs from itself. Floors and
ceilings draw tuned's level, base as a tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.manifest import GateKind
from harness.verdict.record import GateResult
from reports.numbers import absolute_margin, number, signed

WIDTH, HEIGHT, EDGE = 240, 46, 12
"""The drawing's size, and the space left and right of the outermost mark."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A labelled vertical line."""

    x: float
    label: str
    anchor: str
    """SVG text-anchor that keeps the label inside the drawing."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Positions of everything in one interval's drawing."""

    point: float
    """Where the estimate stands."""
    low: float
    high: float
    """Ends of the interval; the drawing's border where an end is open."""
    zone: tuple[float, float]
    """Left end and width of the zone in which the gate passes."""
    margin: Mark | None
    reference: Mark | None
    """Zero for differences, base for levels."""
    noise: tuple[float, float] | None
    """Left end and width of the band of the noise floor around zero."""
    label: str
    """The drawing in words, for those who cannot see it."""


def draw(gate: GateResult) -> Drawing | None:
    """Return the drawing of a gate's interval, None if nothing was estimated."""
    level = gate.kind.is_level
    point, reference = (gate.tuned, gate.base) if level else (gate.delta, 0.0)
    if gate.kind is GateKind.SEVERE_DROP:
        point = gate.share
    if point is None:
        return None
    limit = boundary(gate)
    noise = gate.noise if gate.kind.compares else None
    seen = [v for v in (point, gate.low, gate.high, limit, reference, noise) if v is not None]
    at = _around_zero(seen) if gate.kind.compares else _scale(seen)
    known = gate.low is not None or gate.high is not None
    write = signed if gate.kind.compares else number
    return Drawing(
        point=at(point),
        low=at(gate.low) if gate.low is not None else (0.0 if known else at(point)),
        high=at(gate.high) if gate.high is not None else (float(WIDTH) if known else at(point)),
        zone=_zone(gate, None if limit is None else at(limit)),
        margin=None if limit is None else _mark(at(limit), write(limit)),
        reference=None if reference is None else _mark(at(reference), "base" if level else "0"),
        noise=None if noise is None else (at(-noise), round(at(noise) - at(-noise), 1)),
        label=_words(gate, point, limit, write),
    )


def boundary(gate: GateResult) -> float | None:
    """Return the value that the interval must clear, on the axis that is drawn."""
    margin = absolute_margin(gate)
    if margin is None or not gate.kind.compares:
        return margin
    sign = 1 if (gate.kind is GateKind.GAIN) == gate.higher_is_better else -1
    return sign * margin


def _scale(values: list[float]) -> Callable[[float], float]:
    """Return the function from values to x: smallest and largest stand `EDGE` from the border."""
    low, high = min(values), max(values)
    if high == low:
        return lambda value: WIDTH / 2
    return lambda value: round(EDGE + (value - low) / (high - low) * (WIDTH - 2 * EDGE), 1)


def _around_zero(values: list[float]) -> Callable[[float], float]:
    """Return the function that puts zero in the middle, and the farthest value `EDGE` inside."""
    reach = max(map(abs, values)) or 1.0
    return lambda value: round(WIDTH / 2 + value / reach * (WIDTH / 2 - EDGE), 1)


def _zone(gate: GateResult, x: float | None) -> tuple[float, float]:
    if x is None:
        return 0.0, 0.0
    upwards = gate.kind is GateKind.FLOOR or (gate.kind.compares and gate.higher_is_better)
    return (x, round(WIDTH - x, 1)) if upwards else (0.0, x)


def _mark(x: float, label: str) -> Mark:
    anchor = "start" if x < WIDTH * 0.15 else "end" if x > WIDTH * 0.85 else "middle"
    return Mark(x, label, anchor)


def _words(
    gate: GateResult, point: float, limit: float | None, write: Callable[[float | None], str]
) -> str:
    what = "tuned" if gate.kind.is_level else "difference" if gate.kind.compares else "share"
    text = f"{gate.metric}, {what} {write(point)}"
    if gate.low is not None or gate.high is not None:
        text += f", interval from {write(gate.low)} to {write(gate.high)}"
    if limit is not None:
        text += f", {gate.kind} line at {write(limit)}"
    return text if gate.noise is None else f"{text}, noise floor {number(gate.noise)}"
