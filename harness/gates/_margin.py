"""The margin of a gate: a number, or a share of base's level."""

from __future__ import annotations

import math

from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.manifest import Gate


def numeric_margin(gate: Gate) -> float:
    """Return the margin of a kind whose schema allows only numbers."""
    assert not isinstance(gate.margin, str)
    return gate.margin


def share_of_base(margin: str) -> float:
    """Return the share that a margin such as `2%` stands for."""
    return float(margin.rstrip("%")) / 100


def absolute_margin(result: GateResult) -> float | None:
    """Return the margin in the metric's unit; None for a share of an unknown base."""
    if not isinstance(result.margin, str):
        return result.margin
    try:
        share = share_of_base(result.margin.strip())
    except ValueError:
        return None
    if result.base is None or not math.isfinite(share):
        return None
    return share * abs(result.base)


def percentage_hint(margin: float, range_: tuple[float, float]) -> str:
    """Return a hint if a margin beyond the metric's range may be a percentage."""
    low, high = range_
    return (
        f"; did you mean {margin / 100:g}?" if margin > high and margin / 100 < high - low else ""
    )
