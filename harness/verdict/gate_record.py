"""One gate's outcome, as verdict.json holds it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from harness.manifest import GateKind
from harness.records import Record
from harness.verdict.status import GateReason, GateStatus


def six_digits(value: float | None) -> float | None:
    """Round to six significant digits, the precision of verdict.json; there is no minus zero."""
    return None if value is None else float(f"{value:.6g}") + 0.0


Number = Annotated[float | None, AfterValidator(six_digits)]


class GateResult(Record):
    """One gate's outcome. Differences are tuned − base, whatever direction is better."""

    metric: str
    """Name of the metric within the suite."""
    kind: GateKind
    """Which rule of the `[[gates]]` table it is."""
    status: GateStatus
    """How it ended."""
    reason: GateReason | None = None
    """Why it did not pass; None for a plain pass."""
    sentence: str
    """The outcome in words, with its numbers."""
    higher_is_better: bool = True
    """Whether a positive delta is an improvement."""
    base: Number = None
    """Base's level over the complete pairs."""
    tuned: Number = None
    """Tuned's level over the complete pairs."""
    delta: Number = None
    """tuned − base."""
    low: Number = None
    """Lower end of the delta's interval; of tuned's level for floors and ceilings, of the share
    for severe drops."""
    high: Number = None
    """Upper end, likewise."""
    confidence: float
    """Two-sided confidence of the interval."""
    method: str
    """The interval and test used."""
    margin: float | str
    """The bound as the suite writes it: 0.02, or "2%" of base."""
    p_value: Number = None
    """One-sided p-value of the gate's null hypothesis; None for observed floors."""
    n: int
    """Complete pairs."""
    drop: Number = None
    """Loss from which a drop counts as severe; None for other gates."""
    share: Number = None
    """Share of cases with a severe drop, likewise."""
    noise: Number = None
    """Mean |difference| of base to itself asked again, where arithmetic is inexact (bfloat16 …)."""
    needed_n: int | None = None
    """Cases that would decide an undecided gate with 80 % power, if this run's spread holds."""
    advisory: bool = False
    """Shown, but without influence on the verdict."""
    right: str | None = None
    """Why a judge's gate counts or does not, in words; None where no judge is asked."""
