"""Interval chart of one gate.

The shaded zone is where the whole interval must be for the gate to pass (for an observed floor or
ceiling: where the estimate must be). Gains and tolerances draw tuned − base around a zero in the
middle, each on its own scale; where base was asked twice, a band shows by how much it differs from
itself. Floors and ceilings draw tuned's level with base as a tick, a ratio draws tuned/base with 1
as a tick, and the other kinds what they measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunegate.harness.contracts.quantity import quantity_of
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.gates.contract.sentences import gate_words
from tunegate.harness.records.gate_results import GateResult
from tunegate.reports.axis import AxisScale, gate_marks, gate_values
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


def draw_interval(gate: GateResult, beside: Sequence[GateResult] = ()) -> IntervalDrawing | None:
    """Return the drawing of a gate's interval, None if nothing was estimated.

    Its scale holds the gates `beside` it as well, to compare them by eye.
    """
    kind = gate_kind(gate.kind)
    estimate, limit = kind.value(gate), kind.boundary(gate)
    if estimate is None:
        return None
    noise = _noise_ends(gate) if kind.tests_difference else None
    values = [value for shown in (gate, *beside) for value in gate_values(shown)]
    scale = _scale([*values, *(noise or ())], around_zero=kind.tests_difference)
    marks = gate_marks(gate, scale, (0.0, WIDTH))
    label = gate_words(gate, "reference")
    point = scale.at(estimate)
    low, high = (0.0, float(WIDTH)) if marks.has_interval else (point, point)
    return IntervalDrawing(
        point=point,
        low=low if gate.low is None else marks.low,
        high=high if gate.high is None else marks.high,
        zone=marks.zone or (0.0, 0.0),
        margin=None if marks.bound is None else _mark(marks.bound, format_gate_value(gate, limit)),
        reference=None if marks.reference is None else _mark(marks.reference, label),
        noise=None
        if noise is None
        else (scale.at(noise[0]), round(scale.at(noise[1]) - scale.at(noise[0]), 1)),
        label=_words(gate, estimate, limit),
    )


def _noise_ends(gate: GateResult) -> tuple[float, float] | None:
    """Return the ends of the A/A difference; of records without them, its mean size either way."""
    if gate.noise_low is not None and gate.noise_high is not None:
        return gate.noise_low, gate.noise_high
    return None if gate.noise is None else (-gate.noise, gate.noise)


def _scale(values: list[float], *, around_zero: bool) -> AxisScale:
    """Return a scale with the outermost values `EDGE` from the border, or zero in the middle."""
    low, high = min(values), max(values)
    if around_zero:
        high = max(map(abs, values)) or 1.0
        low = -high
    if high == low:
        return AxisScale.over(values, EDGE, WIDTH - EDGE)
    return AxisScale(low, high, EDGE, WIDTH - EDGE)


def _mark(x: float, label: str) -> ChartMark:
    anchor = "start" if x < WIDTH * 0.15 else "end" if x > WIDTH * 0.85 else "middle"
    return ChartMark(x, label, anchor)


def _words(gate: GateResult, estimate: float, limit: float | None) -> str:
    text = f"{gate.subject}, {gate_words(gate, 'quantity')} {format_gate_value(gate, estimate)}"
    if gate.low is not None or gate.high is not None:
        text += f", interval from {format_gate_interval(gate)}"
    if limit is not None:
        text += f", {gate.kind} line at {format_gate_value(gate, limit)}"
    noise = format_difference(gate.noise, quantity_of(gate)).lstrip("+")
    return text if gate.noise is None else f"{text}, noise floor {noise}"
