"""The drawing of one gate's intervals of several candidates, below each other on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.manifest import GateKind
from harness.verdict.record import GateResult
from reports.interval import boundary
from reports.numbers import number, signed
from reports.scale import Scale

WIDTH, HEIGHT, EDGE = 260, 26, 8
"""A row's size, and the space left and right of the scale."""


@dataclass(frozen=True, slots=True)
class Row:
    """Positions of one candidate's marks; None for a mark that there is not."""

    point: float | None
    low: float
    high: float
    known: bool
    """Whether there is an interval."""
    bound: float | None
    """Where the gate's bound stands."""
    zero: float | None
    """Where no difference stands, or base for a level."""
    zone: tuple[float, float] | None
    """Left end and width of where the interval must lie."""
    text: str
    """The interval in words."""


def rows(gates: Sequence[GateResult]) -> list[Row]:
    """Return a row for each candidate's outcome of one gate."""
    values = [v for gate in gates for v in _values(gate) if v is not None]
    scale = Scale.over(values, EDGE, WIDTH - EDGE, pad=0.03)
    return [_row(gate, scale) for gate in gates]


def point(gate: GateResult) -> float | None:
    """Return what a gate is about: the difference, tuned's level, or the share of severe drops."""
    if gate.kind is GateKind.SEVERE_DROP:
        return gate.share
    return gate.tuned if gate.kind.is_level else gate.delta


def reference(gate: GateResult) -> float | None:
    """Return what the drawing compares with: zero, or base for a level."""
    return gate.base if gate.kind.is_level else 0.0


def _values(gate: GateResult) -> tuple[float | None, ...]:
    return point(gate), gate.low, gate.high, boundary(gate), reference(gate)


def _row(gate: GateResult, scale: Scale) -> Row:
    where, limit, zero = point(gate), boundary(gate), reference(gate)
    low = scale.low if gate.low is None else gate.low
    high = scale.high if gate.high is None else gate.high
    return Row(
        point=None if where is None else scale.at(where),
        low=scale.at(low),
        high=scale.at(high),
        known=gate.low is not None or gate.high is not None,
        bound=None if limit is None else scale.at(limit),
        zero=None if zero is None else scale.at(zero),
        zone=None if limit is None else _zone(gate, scale.at(limit)),
        text=interval_text(gate),
    )


def _zone(gate: GateResult, x: float) -> tuple[float, float]:
    upwards = gate.kind is GateKind.FLOOR or (gate.kind.compares and gate.higher_is_better)
    return (x, round(WIDTH - x, 1)) if upwards else (0.0, x)


def interval_text(gate: GateResult) -> str:
    """Return a gate's interval in words; a dash without one."""
    if gate.low is None and gate.high is None:
        return number(None)
    write = signed if gate.kind.compares else number
    return f"{write(gate.low)} to {write(gate.high)}"
