"""Values that go into a gate kind and come out of it."""

from __future__ import annotations

from dataclasses import dataclass

from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.records.gate_results import GateReason, GateStatus


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """Status, reason and the numbers that led to them, before they are put into words."""

    status: GateStatus
    reason: GateReason | None
    p_value: float | None
    low: float
    """Lower end of the interval of what the gate measures; infinite where nothing bounds it."""
    high: float
    method: str
    needed_n: int | None = None
    """Cases that would decide an undecided gate with 80 % power at the effect hoped for."""
    needed_most: int | None = None
    """The same if the scores spread as widely as this run lets one fear; None if unknown."""
    estimate: float | None = None
    """The measured value, if it is neither the difference, tuned's level nor a share."""
    share: float | None = None
    """Share of cases with a severe drop, where the gate is about it."""
    drop: float | None = None
    """Loss from which a drop counted as severe, likewise."""


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """Evidence for a gate besides its own pairs."""

    regressed: bool = False
    """Whether "the metric is worse than base" is proven, over all metrics of the run."""
    noise: NoiseFloor | None = None
    """Base against itself asked again; None where arithmetic is exact."""
    remaining: int = 0
    """Cases not asked, because the suite ended early."""
    planned_confidence: float | None = None
    """Level at which the suite is judged with further cases; None for that of the gate."""


@dataclass(frozen=True, slots=True)
class PlannedTest:
    """How a guardrail is planned before a run, or why it is not."""

    margin: float | None
    """Margin of the improvement at no true difference; None: not planned."""
    note: str = ""
    """Why nothing is planned, or what a reader must know of the plan."""
    counts: bool = True
    """Whether the probability of SHIP rests on it."""
    refused: bool = False
    """Whether it cannot pass, whatever tuned answers."""
    bounded: bool = True
    """Whether a difference on the gate's scale is limited by the metric's range."""


@dataclass(frozen=True, slots=True)
class EquivalenceMargin:
    """How large a difference between tuned and a deployment artifact still counts as none."""

    value: float | str
    """A number in the metric's unit, or `5%` of tuned's level."""
    source: str
    """Where it comes from, in words."""
