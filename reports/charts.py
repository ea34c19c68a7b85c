"""Interval chart of one gate.

The shaded zone is where the whole interval must be for the gate to pass (for an observed floor or
ceiling: where the estimate must be). Gains and tolerances draw tuned − base around a zero in the
middle, each on its own scale; where base was asked twice, a band shows by how much it differs from
itself. Floors and ceilings draw tuned's level with base as a tick, a ratio draws tuned/base with 1
as a tick, and the other kinds what they measure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunegate.harness.contracts.quantity import quantity_of
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateResult
from tunegate.reports.formatting import format_difference, format_gate_interval, format_gate_value

WIDTH, HEIGHT, EDGE = 240, 46, 12
"""The drawing's size, and the space left and right of the outermost mark."""


@dataclass(frozen=True, slots=True)
class ChartMark:
    """A labelled vertical line."""

    x: float
    label: str
    anchor: str
    """SVG text-anchor that keeps the label inside the drawing."""


@dataclass(frozen=True, slots=True)
class IntervalDrawing:
    """Positions of everything in one interval's drawing."""

    point: float
    """Position of the estimate."""
    low: float
    high: float
    """Ends of the interval; the drawing's border where an end is open."""
    zone: tuple[float, float]
    """Left end and width of the zone in which the gate passes."""
    margin: ChartMark | None
    reference: ChartMark | None
    """Reference of the gate kind: zero for differences, base for levels, one for ratios."""
    noise: tuple[float, float] | None
    """Left end and width of the band of the noise floor: base asked again, minus base."""
    label: str
    """The drawing in words, for those who cannot see it."""


def draw_interval(gate: GateResult) -> IntervalDrawing | None:
    """Return the drawing of a gate's interval, None if nothing was estimated."""
    kind = gate_kind(gate.kind)
    estimate, limit, compared_with = kind.value(gate), kind.boundary(gate), kind.reference(gate)
    if estimate is None:
        return None
    noise = _noise_ends(gate) if kind.tests_difference else None
    marks = (estimate, gate.low, gate.high, limit, compared_with, *(noise or ()))
    seen = [value for value in marks if value is not None]
    at = _around_zero(seen) if kind.tests_difference else _scale(seen)
    known = gate.low is not None or gate.high is not None
    zero = None if compared_with is None else _mark(at(compared_with), kind.reference_label)
    return IntervalDrawing(
        point=at(estimate),
        low=at(gate.low) if gate.low is not None else (0.0 if known else at(estimate)),
        high=at(gate.high) if gate.high is not None else (float(WIDTH) if known else at(estimate)),
        zone=_zone(gate, None if limit is None else at(limit)),
        margin=None if limit is None else _mark(at(limit), format_gate_value(gate, limit)),
        reference=zero,
        noise=None if noise is None else (at(noise[0]), round(at(noise[1]) - at(noise[0]), 1)),
        label=_words(gate, estimate, limit),
    )


def _noise_ends(gate: GateResult) -> tuple[float, float] | None:
    """Return the ends of the A/A difference; of records without them, its mean size either way."""
    if gate.noise_low is not None and gate.noise_high is not None:
        return gate.noise_low, gate.noise_high
    return None if gate.noise is None else (-gate.noise, gate.noise)


def _scale(values: list[float]) -> Callable[[float], float]:
    """Return the function from values to x: smallest and largest are `EDGE` from the border."""
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
    upwards = gate_kind(gate.kind).passes_above(gate)
    return (x, round(WIDTH - x, 1)) if upwards else (0.0, x)


def _mark(x: float, label: str) -> ChartMark:
    anchor = "start" if x < WIDTH * 0.15 else "end" if x > WIDTH * 0.85 else "middle"
    return ChartMark(x, label, anchor)


def _words(gate: GateResult, estimate: float, limit: float | None) -> str:
    text = f"{gate.subject}, {gate_kind(gate.kind).quantity} {format_gate_value(gate, estimate)}"
    if gate.low is not None or gate.high is not None:
        text += f", interval from {format_gate_interval(gate)}"
    if limit is not None:
        text += f", {gate.kind} line at {format_gate_value(gate, limit)}"
    noise = format_difference(gate.noise, quantity_of(gate)).lstrip("+")
    return text if gate.noise is None else f"{text}, noise floor {noise}"
