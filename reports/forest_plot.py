"""Forest plot: one gate's interval for each candidate, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateResult
from tunegate.reports.axis import AxisScale
from tunegate.reports.formatting import format_gate_interval

FOREST_WIDTH, FOREST_HEIGHT, FOREST_EDGE = 260, 26, 8
"""A row's size, and the space left and right of the scale."""


@dataclass(frozen=True, slots=True)
class CandidateMarks:
    """Positions of one candidate's marks; None for a mark that there is not."""

    point: float | None
    low: float
    high: float
    known: bool
    """Whether there is an interval."""
    bound: float | None
    """Position of the gate's bound."""
    zero: float | None
    """Position of no difference, or of base for a level."""
    zone: tuple[float, float] | None
    """Left end and width of where the interval must be."""
    text: str
    """The interval in words."""


def candidate_marks(gates: Sequence[GateResult]) -> list[CandidateMarks]:
    """Return a row for each candidate's outcome of one gate."""
    values = [v for gate in gates for v in _values(gate) if v is not None]
    scale = AxisScale.over(values, FOREST_EDGE, FOREST_WIDTH - FOREST_EDGE, pad=0.03)
    return [_row(gate, scale) for gate in gates]


def _values(gate: GateResult) -> tuple[float | None, ...]:
    kind = gate_kind(gate.kind)
    return kind.value(gate), gate.low, gate.high, kind.boundary(gate), kind.reference(gate)


def _row(gate: GateResult, scale: AxisScale) -> CandidateMarks:
    kind = gate_kind(gate.kind)
    where, limit, zero = kind.value(gate), kind.boundary(gate), kind.reference(gate)
    low = scale.low if gate.low is None else gate.low
    high = scale.high if gate.high is None else gate.high
    return CandidateMarks(
        point=None if where is None else scale.at(where),
        low=scale.at(low),
        high=scale.at(high),
        known=gate.low is not None or gate.high is not None,
        bound=None if limit is None else scale.at(limit),
        zero=None if zero is None else scale.at(zero),
        zone=None if limit is None else _forest_zone(gate, scale.at(limit)),
        text=format_gate_interval(gate),
    )


def _forest_zone(gate: GateResult, x: float) -> tuple[float, float]:
    upwards = gate_kind(gate.kind).passes_above(gate)
    return (x, round(FOREST_WIDTH - x, 1)) if upwards else (0.0, x)
