"""Values that go into a gate kind and come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.records.gate_results import GateReason, GateStatus


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """Status, reason and the numbers behind them."""

    status: GateStatus
    reason: GateReason | None
    p_value: float | None
    low: float
    """Lower end of the measured interval; infinite if nothing bounds it."""
    high: float
    method: str
    needed_n: int | None = None
    """Cases that would decide an undecided gate with 80 % power at the hoped-for effect."""
    needed_most: int | None = None
    """The same with the widest plausible spread; None if unknown."""
    estimate: float | None = None
    """The measured value, if it is not the difference or tuned's level."""
    facts: Mapping[str, float | None] = field(default_factory=lambda: MappingProxyType({}))
    """Numbers that only the kind knows, by name."""


class Finding(NamedTuple):
    """What a result shows beyond its status and reason."""

    code: str = ""
    """Code of a template in the kind's words."""
    facts: Mapping[str, str] = MappingProxyType({})
    """What the template names."""


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """Evidence for a gate besides its own pairs."""

    regressed: bool = False
    """Whether a loss, or a broken bound, is proven after adjustment over all gates of the run."""
    noise: NoiseFloor | None = None
    """Base against itself asked again; None if arithmetic is exact."""
    remaining: int = 0
    """Cases not asked, because the suite ended early."""
    planned_confidence: float | None = None
    """Level at which further cases are judged; None for the gate's own."""
    parts: int = 1
    """Gates of its rule: more than one if it must hold under every value of a tag key."""


@dataclass(frozen=True, slots=True)
class PlannedTest:
    """How a gate is planned before a run, or why it is not."""

    margin: float | None
    """Margin of the improvement; None if not planned."""
    note: str = ""
    """Why nothing is planned, or a caveat of the plan."""
    counts: bool = True
    """Whether the probability of SHIP depends on it."""
    refused: bool = False
    """Whether it cannot pass, whatever tuned answers."""


@dataclass(frozen=True, slots=True)
class EquivalenceMargin:
    """The largest difference between tuned and an artifact that does not matter."""

    value: float | str
    """A number in the metric's unit, or `5%` of tuned's level."""
    source: str
    """Where it comes from, in words."""
