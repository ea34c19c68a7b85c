"""The gate-kind contract: everything that tunegate must know of one kind of gate.

A kind is a module of `harness/gates` that holds an instance under the module's name, or an object
that another package registers in the entry-point group `tunegate.gates`. `gate_kind("floor")`
returns the kind of a stored gate; records hold the name alone.

Every property has a default that is right for a guardrail which compares tuned with base, so that a
new kind writes its keys, `decide`, and how it is worded.

Example:
    >>> gate_kind("gain").is_goal, gate_kind("floor").reads_level
    (True, True)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from tunegate.harness.comparison.estimator import FEW_CLUSTERS
from tunegate.harness.comparison.labelled_level import n_labelled
from tunegate.harness.comparison.pairs import JudgedPairs, NoiseFloor, PairFill, Pairs
from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.quantity import ROUNDING, QuantityFormat, quantity_of
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.wording import count_noun

ROOM = "tunegate.harness.gates"
"""Package of the built-in kinds."""
GROUP = "tunegate.gates"
"""Entry-point group of the kinds of other packages."""

COMMON_KEYS = ("metric", "tag", "confidence")
"""Keys that each `[[gates]]` table may have, whatever its kind."""

KeySchemas = Mapping[str, Mapping[str, Any]]
"""Key of a `[[gates]]` table → its JSON schema."""


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


class GateKind(ABC):
    """One kind of gate. Instances have no state."""

    name: str
    """The kind's name in records, and its key in a `[[gates]]` table."""
    summary: ClassVar[str]
    """When it passes, for the table of gate kinds in the reference."""
    order: ClassVar[int] = 100
    """Place among the kinds: the gates of one table are decided and listed in this order."""
    schema: ClassVar[KeySchemas]
    """Its keys in a `[[gates]]` table → their JSON schema, each with a description."""
    margin_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of which one holds the margin; `name` alone unless set. Other keys refine them."""

    is_goal: ClassVar[bool] = False
    """Whether passing is a goal, subject to the suite's goal_rule, instead of a guardrail."""
    reads_level: ClassVar[bool] = False
    """Whether it is about tuned alone: base's scores do not matter."""
    tests_difference: ClassVar[bool] = False
    """Whether it is about the mean difference of tuned and base. If so, its metric belongs to the
    family of Holm's adjustment, a proven loss fails it, and the noise floor applies."""
    counts_cases: ClassVar[bool] = False
    """Whether it rests on the scores of single cases even where the level is a corpus value."""

    quantity: ClassVar[str] = "difference"
    """The measured quantity in one word."""
    described: ClassVar[str] = "the difference"
    """The same as it is written next to an interval."""
    pass_words: ClassVar[str] = "holds"
    """Words for the rule when the gate passes."""
    reference_label: ClassVar[str] = "0"
    """Label of the reference line in the picture."""
    hoped_words: ClassVar[str] = ""
    """Condition on the cases that would decide the gate, after their number."""
    unplanned_words: ClassVar[str] = "more cases are not expected to decide it"
    """Sentence for an unknown number of cases."""

    @property
    def compares(self) -> bool:
        """Whether it compares an aggregate of tuned with one of base."""
        return not self.reads_level

    # --- the suite file

    @property
    def keys_of_margin(self) -> tuple[str, ...]:
        """The keys of a `[[gates]]` table that ask for a gate of this kind."""
        return self.margin_keys or (self.name,)

    @property
    def companions(self) -> tuple[str, ...]:
        """The keys that only refine a gate, such as `expected_gain`."""
        return tuple(key for key in self.schema if key not in self.keys_of_margin)

    def key_in(self, table: Mapping[str, Any]) -> str | None:
        """Return the key by which a `[[gates]]` table asks for this kind; None if it does not."""
        return next((key for key in self.keys_of_margin if key in table), None)

    def margin_key(self, gate: Gate) -> str:
        """Return the key of a `[[gates]]` table that holds the gate's margin."""
        return self.name

    def fields(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of the gate that a table asks for: its margin and what refines it."""
        refined = {key: table[key] for key in self.companions if key in table}
        known = {key: refined.pop(key) for key in _REFINING_FIELDS if key in refined}
        found = {"margin": table[self.key_in(table) or self.name], **known}
        return {**found, "options": refined} if refined else found

    def problems(self, gate: Gate, metric: Metric) -> Iterator[str]:
        """Yield what is wrong with a gate on a metric, each with the remedy."""
        yield from ()

    # --- the decision

    @abstractmethod
    def decide(self, gate: Gate, pairs: Pairs, context: DecisionContext) -> GateOutcome:
        """Decide a gate on the complete pairs of its metric."""

    def judged_pairs(self, gate: Gate, pairs: Pairs) -> JudgedPairs:
        """Return the pairs on the gate's own scale, and what their difference must exceed."""
        return JudgedPairs(pairs, 0.0)

    def imputation(self, gate: Gate, observed: Pairs, *, best: bool) -> PairFill | None:
        """Return what completes unscored cases at worst or `best`; None for the metric's own."""
        return None

    def judge_refusal(self, gate: Gate) -> str:
        """Return why no judge can decide such a gate, even corrected by labels; "" if one can."""
        return "" if self.tests_difference else f"labels do not correct a {self.name} gate"

    def judge_margin(self, gate: Gate, base_level: float) -> float | None:
        """Return the margin, in the metric's unit, that must leave room for a judge's errors.

        Args:
            gate: The gate.
            base_level: Base's level; 0 where no pair is complete.

        Returns:
            The margin; None if the gate has none, so that it takes people's labels.
        """
        return None

    def claims_loss(self, result: GateResult) -> bool:
        """Return whether a result claims that tuned is worse than base."""
        return not self.reads_level and result.reason in _LOSSES

    # --- before and during a run

    def rests_on_interval(self, gate: Gate) -> bool:
        """Return whether an interval decides the gate, which takes enough cases or clusters."""
        return True

    def refusals(self, gate: Gate, metric: Metric, n: int, gates: Sequence[Gate]) -> Iterator[str]:
        """Yield why a flawless result could not pass the gate.

        Args:
            gate: The gate.
            metric: Its metric.
            n: Cases that the metric is asked of.
            gates: All gates of the suite.
        """
        yield from ()

    def plan_test(self, gate: Gate, metric: Metric, pairs: Pairs | None) -> PlannedTest:
        """Return how a guardrail is planned, by the pairs of an earlier run if there is one."""
        return PlannedTest(None, f"not planned: {self.name}", counts=False)

    def target_effect(self, gate: Gate, provable: float) -> float | None:
        """Return the true improvement at which a gate is given up during a run.

        Args:
            gate: The gate.
            provable: The smallest improvement that all cases prove in 4 of 5 runs.

        Returns:
            The improvement on the scale of `judged_pairs`; None for a gate that is never given up.
        """
        return None

    # --- other comparisons

    def against_incumbent(self, gate: Gate, gates: Sequence[Gate]) -> Gate | None:
        """Return the gate to apply with the incumbent in base's place; None for no such gate.

        Args:
            gate: A gate of the suite.
            gates: All gates of the suite.
        """
        return None if self.is_goal or self.reads_level else gate

    def on_deployment(self, gate: Gate) -> Gate | None:
        """Return the gate to apply with the deployment artifact in tuned's place, if any."""
        return None if self.is_goal else gate

    def equivalence_margin(self, gate: Gate, default: float | None) -> EquivalenceMargin | None:
        """Return the margin within which a deployment artifact is equivalent to tuned.

        Args:
            gate: A gate of the suite.
            default: The default margin in the metric's unit; None if its range is unknown.

        Returns:
            The margin that the gate implies; None if it implies none.
        """
        return None

    def allowance(self, result: GateResult) -> float | None:
        """Return the loss that a guardrail allows, in the metric's unit; None for other gates."""
        return None

    # --- words

    def sentence(self, result: GateResult, pairs: Pairs, remaining: int = 0) -> str:
        """Return what was measured, against what, and what follows.

        Args:
            result: The gate's outcome.
            pairs: What it rests on.
            remaining: Cases that were not asked.
        """
        if result.n == 0:
            return f"{result.metric}: no case has a score in both arms"
        measurement = f"{self.measurement(result)}{_uncorrected_note(result, pairs)}"
        return f"{measurement}: {self.conclusion(result, pairs)}"

    def headline(self, result: GateResult) -> str:
        """Return which metric did what, against which bound, in a few words."""
        if result.n == 0 or result.status is GateStatus.ERROR:
            return result.sentence
        return f"{result.words} {self.happened(result)}, {self.against(result)}"

    def happened(self, result: GateResult) -> str:
        """Return what the metric did: `fell 90.3 → 81.7 %`."""
        return quantity_of(result).moved(result.base, result.tuned, result.delta)

    def against(self, result: GateResult) -> str:
        """Return how that stands to the bound: `more than the 2 points allowed`."""
        rule = self.rule(result)
        if result.status is GateStatus.PASS:
            return f"{rule} {self.pass_words}"
        return _IN_BRIEF.get(result.reason, "{} is not proven").format(rule)

    def measurement(self, result: GateResult) -> str:
        """Return what was measured, with its interval and the number of cases."""
        how, cases = self.quantity_format(result), count_noun(result.n, "case")
        interval = how.interval(result.low, result.high, result.confidence, sign=False)
        measured = f"{self.described} is {how.level(self.value(result))}{interval}"
        return f"{result.metric}: {measured} on {cases}"

    def rule(self, result: GateResult) -> str:
        """Return the rule as the subject of a sentence: `the floor of 0.9`."""
        return f"the {self.name} of {self.margin_words(result)}"

    def conclusion(self, result: GateResult, pairs: Pairs) -> str:
        """Return what follows for the rule."""
        rule = self.rule(result)
        if result.status is GateStatus.PASS and result.reason is None:
            return f"{rule} {self.pass_words}"
        if result.reason in _CONCLUSIONS:
            return _CONCLUSIONS[result.reason].format(rule)
        return self.open_conclusion(result, pairs)

    def open_conclusion(self, result: GateResult, pairs: Pairs) -> str:
        """Return what follows where the evidence is too thin."""
        more = deciding_evidence(result, pairs)
        return f"{self.rule(result)} is neither proven nor refuted; {more}"

    def label(self, result: GateResult) -> str:
        """Return what the gate asks for, for a table."""
        return f"{self.name} {self.margin_label(result)}"

    def margin_words(self, result: GateResult) -> str:
        """Return the margin as sentences write it: `2 points`, `90 %`, or `2%` of base."""
        return self.quantity_format(result).margin(result.margin, points=self.tests_difference)

    def margin_label(self, result: GateResult) -> str:
        """Return the margin as tables write it, where a share names what it is a share of."""
        return self.margin_words(result) + " of base" * isinstance(result.margin, str)

    def speaks_against(self, result: GateResult, base: float | None, tuned: float) -> bool:
        """Return whether a case's scores speak against passing: tuned's is worse than base's."""
        return base is not None and (base - tuned) * (result.higher_is_better or -1) > ROUNDING

    def against_words(self, result: GateResult) -> str:
        """Return how the cases that speak against it are called: `24 cases that lost`."""
        return "that lost"

    # --- the picture

    def quantity_format(self, result: GateResult) -> QuantityFormat:
        """Return how what it measures is written: as plain numbers, unless it is the metric's."""
        metrics = result.estimate is None and (self.tests_difference or self.reads_level)
        return quantity_of(result) if metrics else QuantityFormat()

    def value(self, result: GateResult) -> float | None:
        """Return the measured value; None if nothing was estimated."""
        return result.delta if result.estimate is None else result.estimate

    def reference(self, result: GateResult) -> float | None:
        """Return the value that the picture compares with."""
        return 0.0

    def boundary(self, result: GateResult) -> float | None:
        """Return the value that the interval must clear, on the axis that is drawn."""
        return None if isinstance(result.margin, str) else result.margin

    def passes_above(self, result: GateResult) -> bool:
        """Return whether the gate passes above its boundary."""
        return result.higher_is_better


_LOSSES = (
    GateReason.REGRESSED,
    GateReason.SEVERE_DROPS,
    GateReason.BOUND_BROKEN,
    GateReason.LOSS_NOT_BOUNDED,
)
"""Reasons that claim a loss against base."""

_REFINING_FIELDS = ("floor_mode", "drop", "expected_gain")
"""Keys that have a field of their own in `Gate`; those of other kinds are its `options`."""

_CONCLUSIONS: dict[GateReason | None, str] = {
    GateReason.PASS_WITH_LOSS: "{} holds, though a loss is proven",
    **dict.fromkeys((GateReason.BELOW_FLOOR, GateReason.ABOVE_CEILING), "{} is broken"),
    **dict.fromkeys((GateReason.SEVERE_DROPS, GateReason.BOUND_BROKEN), "{} is broken"),
    GateReason.REGRESSED: "a regression is proven, and {} is not",
    GateReason.NO_WORTHWHILE_GAIN: "{} is not proven, and a gain worth having is ruled out",
    GateReason.WITHIN_NOISE: "the difference may be no larger than what base shows against itself, "
    "so inexact arithmetic alone may explain it, and {} is undecided",
    GateReason.INSENSITIVE: "{} means nothing here: base is not proven that much better than "
    "guessing or failing, so it may have nothing to lose",
}
"""Reason → what follows for the rule."""

_IN_BRIEF: dict[GateReason | None, str] = {
    **dict.fromkeys((GateReason.BELOW_FLOOR, GateReason.ABOVE_CEILING), "{} is broken"),
    **dict.fromkeys((GateReason.SEVERE_DROPS, GateReason.BOUND_BROKEN), "{} is broken"),
    GateReason.WITHIN_NOISE: "which inexact arithmetic alone may explain",
    GateReason.INSENSITIVE: "but base may have had nothing to lose",
    GateReason.UNSCORED: "open while cases are unscored",
    GateReason.NOT_COMPUTABLE: "{} cannot be computed",
    GateReason.LOSS_MAY_BE_STYLE: "a proven loss, which may be one of wording",
}
"""Reason → the same in a headline; the rule is not proven for any other."""


class UnknownGateKind(GateKind):
    """A kind that a stored run names and that is not installed: shown as stored, never decided."""

    summary = "unknown"
    schema: ClassVar[KeySchemas] = {}
    quantity = "value"
    described = "the measured value"

    def __init__(self, name: str, problem: str = "") -> None:
        """Remember the name, and why the kind of an installed package cannot be loaded."""
        self.name = name
        self.problem = problem or (
            f"the gate kind {name!r} is not installed; install the package that provides it in the "
            f"entry-point group {GROUP!r}"
        )

    def decide(self, gate: Gate, pairs: Pairs, context: DecisionContext) -> GateOutcome:
        """Raise a UsageError: nobody knows how it is decided."""
        raise UsageError(f"{gate.where or gate.id}: {self.problem}")

    def label(self, result: GateResult) -> str:
        """Return the margin as stored."""
        return self.margin_label(result)

    def value(self, result: GateResult) -> float | None:
        """Return whatever the kind stored."""
        found = (result.estimate, result.share, result.delta)
        return next((value for value in found if value is not None), None)

    def reference(self, result: GateResult) -> float | None:
        """Return None: only the kind knows its axis, and what its values are compared with."""
        return None

    boundary = reference


@cache
def gate_kind(name: str) -> GateKind:
    """Return the kind of that name; one that cannot be loaded is an `UnknownGateKind`.

    Raises:
        UsageError: it is built in, and an installed package registers the same name.
    """
    try:
        return _load(name)
    except UsageError as error:
        if name in lookup.module_names(ROOM):
            raise
        installed = name in lookup.available_names(ROOM)
        return UnknownGateKind(name, str(error) if installed else "")


@cache
def gate_kinds() -> tuple[GateKind, ...]:
    """Return all kinds in their order: those of this package and those of installed ones.

    A package's kind that cannot be used is left out, with a warning, so that only suites that use
    it are refused.

    Raises:
        UsageError: a package registers the name of a built-in kind.
    """
    found = filter(None, map(_load_or_warn, lookup.available_names(ROOM)))
    return tuple(sorted(found, key=lambda kind: (kind.order, kind.name)))


def _load_or_warn(name: str) -> GateKind | None:
    try:
        return _load(name)
    except UsageError as error:
        if name in lookup.module_names(ROOM):
            raise
        return lookup.warn(f"{error}; it is left out")


def _load(name: str) -> GateKind:
    kind = lookup.find_object(ROOM, name, what="gate kind")
    if not isinstance(kind, GateKind) or kind.name != name:
        raise UsageError(
            f"gate kind {name!r}: the entry point of {GROUP!r} must name a GateKind whose name is "
            f"{name!r}; upgrade or uninstall the package"
        )
    return kind


def missing_evidence(result: GateResult, pairs: Pairs) -> str | None:
    """Return what an undecided gate lacks that more cases alone do not give; None if nothing."""
    clusters = pairs.n_clusters
    if result.n < 2:
        return "one case is too little to judge by"
    if pairs.labels is not None:
        return "more labels would narrow it"
    if clusters is not None and clusters < FEW_CLUSTERS:
        return f"{pairs.cluster_words}, and it takes {FEW_CLUSTERS} at least"
    if result.low is None and result.high is None:
        return "all differences are equal, so the next one cannot be predicted"
    return None


def deciding_evidence(result: GateResult, pairs: Pairs) -> str:
    """Return what would decide an undecided gate."""
    missing = missing_evidence(result, pairs)
    if missing is not None:
        return missing
    if result.needed_n is None:
        return gate_kind(result.kind).unplanned_words
    in_all, most = result.needed_n, max(result.needed_most or 0, result.needed_n)
    often = f"would decide it in 4 of 5 runs{gate_kind(result.kind).hoped_words}"
    if in_all <= result.n:
        return f"{in_all} cases {often}, and this was the fifth"
    span = f"{in_all}" if most == in_all else f"{in_all} to {most}"
    return f"about {in_all - result.n} more ({span} in all) {often}"


def _uncorrected_note(result: GateResult, pairs: Pairs) -> str:
    """Return what the judge alone would have made of it, where labels correct it."""
    if pairs.labels is None or not pairs.n:
        return ""
    labelled = count_noun(n_labelled(pairs.labels), "pair")
    alone = (math.fsum(pairs.tuned) - math.fsum(pairs.base)) / pairs.n
    said = f"the judge alone gives {quantity_of(result).difference(alone)}"
    return f" (corrected by labels on {labelled}; {said})"
