"""The outcome of one gate, before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass

from tunegate.harness.records.verdict import GateReason, GateStatus


@dataclass(frozen=True, slots=True)
class Outcome:
    """Status, reason and the numbers that led to them."""

    status: GateStatus
    reason: GateReason | None
    p_value: float | None
    low: float
    high: float
    method: str
    needed_n: int | None = None
    share: float | None = None
    """Share of cases with a severe drop, where the gate is about it."""
