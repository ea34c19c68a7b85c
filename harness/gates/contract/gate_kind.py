"""The contract of a gate kind: all that tunegate asks of one.

Defaults suit a guardrail that compares tuned with base, so a new kind writes its keys, `decide`,
and how it is worded. `registry.gate_kind` finds a kind by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from tunegate.harness.comparison.pairs import JudgedPairs, PairFill, Pairs
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.quantity import ROUNDING, QuantityFormat, quantity_of
from tunegate.harness.gates.contract.conclusions import (
    CONCLUSIONS,
    IN_BRIEF,
    missing_evidence,
    uncorrected_note,
)
from tunegate.harness.gates.contract.outcome import (
    DecisionContext,
    EquivalenceMargin,
    GateOutcome,
    PlannedTest,
)
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.wording import count_noun

KeySchemas = Mapping[str, Mapping[str, Any]]
"""Key of a `[[gates]]` table → its JSON schema."""


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
    """Alternative keys for the margin; `name` unless set. Other keys refine the gate."""

    is_goal: ClassVar[bool] = False
    """Whether passing is a goal, subject to the suite's goal_rule, instead of a guardrail."""
    reads_level: ClassVar[bool] = False
    """Whether it is about tuned alone."""
    tests_difference: ClassVar[bool] = False
    """Whether it tests the mean difference of tuned and base. If so, a proven loss fails it, and
    the noise floor applies."""
    counts_cases: ClassVar[bool] = False
    """Whether it rests on single cases even if the level is a corpus value."""

    quantity: ClassVar[str] = "difference"
    """The measured quantity in one word."""
    described: ClassVar[str] = "the difference"
    """The same, next to an interval."""
    pass_words: ClassVar[str] = "holds"
    """Words for the rule when the gate passes."""
    reference_label: ClassVar[str] = "0"
    """Label of the reference line in the picture."""
    assumption_words: ClassVar[str] = ""
    """Condition on the cases that would decide the gate, after their number."""
    unplanned_words: ClassVar[str] = "more cases are not expected to decide it"
    """What a sentence says if the number of cases is unknown."""

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
        """Return the key with which a `[[gates]]` table asks for this kind, if it does."""
        return next((key for key in self.keys_of_margin if key in table), None)

    def margin_key(self, gate: Gate) -> str:
        """Return the key of a `[[gates]]` table that holds the gate's margin."""
        return self.name

    def fields(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a table's gate: its margin and what refines it."""
        refined = {key: table[key] for key in self.companions if key in table}
        known = {key: refined.pop(key) for key in _REFINING_FIELDS if key in refined}
        found = {"margin": table[self.key_in(table) or self.name], **known}
        return {**found, "options": refined} if refined else found

    def problems(self, gate: Gate, metric: Metric) -> Iterator[str]:
        """Yield what is wrong with a gate on a metric, and the remedy."""
        yield from ()

    # --- the decision

    @abstractmethod
    def decide(self, gate: Gate, pairs: Pairs, context: DecisionContext) -> GateOutcome:
        """Decide a gate on the complete pairs of its metric."""

    def refutes(self, gate: Gate) -> bool:
        """Return whether a proof fails the gate, and `refutation` has its p-value.

        All such gates of a run share the error (Holm), for chance gets as many tries;
        `DecisionContext.regressed` says how it ended.
        """
        return self.tests_difference

    def refutation(self, gate: Gate, pairs: Pairs) -> float:
        """Return the one-sided p-value of "nothing fails the gate"; asked only if it `refutes`."""
        return 1.0

    def judged_pairs(self, gate: Gate, pairs: Pairs) -> JudgedPairs:
        """Return the pairs on the gate's own scale, and the margin of their difference."""
        return JudgedPairs(pairs, 0.0)

    def imputation(self, gate: Gate, observed: Pairs, *, best: bool) -> PairFill | None:
        """Return how to complete unscored cases at worst or `best`; None for the default."""
        return None

    def judge_refusal(self, gate: Gate) -> str:
        """Return why no judge can decide the gate, even corrected by labels; "" if one can."""
        return "" if self.tests_difference else f"labels do not correct a {self.name} gate"

    def judge_margin(self, gate: Gate, base_level: float) -> float | None:
        """Return the margin, in the metric's unit, that must leave room for a judge's errors.

        None if the gate has no such margin and needs people's labels.
        """
        return None

    def claims_loss(self, result: GateResult) -> bool:
        """Return whether a result claims that tuned is worse than base."""
        return not self.reads_level and result.reason in _LOSSES

    # --- before and during a run

    def rests_on_interval(self, gate: Gate) -> bool:
        """Return whether an interval decides the gate, which needs enough cases or clusters."""
        return True

    def refusals(self, gate: Gate, metric: Metric, n: int, gates: Sequence[Gate]) -> Iterator[str]:
        """Yield why a flawless result on n cases could not pass the gate."""
        yield from ()

    def plan_test(self, gate: Gate, metric: Metric, pairs: Pairs | None) -> PlannedTest:
        """Return how a guardrail is planned, with the pairs of an earlier run if there is one."""
        return PlannedTest(None, f"not planned: {self.name}", counts=False)

    def target_effect(self, gate: Gate, provable: float) -> float | None:
        """Return the true improvement that must stay within reach during a run.

        Args:
            gate: The gate.
            provable: The smallest improvement that all cases prove in 4 of 5 runs.

        Returns:
            The improvement on the scale of `judged_pairs`; None if the gate is never given up.
        """
        return None

    # --- other comparisons

    def against_incumbent(self, gate: Gate, gates: Sequence[Gate]) -> Gate | None:
        """Return the gate to apply with the incumbent in base's place, if any."""
        return None if self.is_goal or self.reads_level else gate

    def on_deployment(self, gate: Gate) -> Gate | None:
        """Return the gate to apply with the deployment artifact in tuned's place, if any."""
        return None if self.is_goal else gate

    def equivalence_margin(self, gate: Gate, default: float | None) -> EquivalenceMargin | None:
        """Return the margin within which an artifact is equivalent to tuned, if any.

        Args:
            gate: A gate of the suite.
            default: The default margin in the metric's unit; None without a range.
        """
        return None

    def allowance(self, result: GateResult) -> float | None:
        """Return the loss that a guardrail allows, in the metric's unit."""
        return None

    # --- words

    def sentence(self, result: GateResult, pairs: Pairs, remaining: int = 0) -> str:
        """Return what was measured, against what, and what follows."""
        if result.n == 0:
            return f"{result.metric}: no case has a score in both arms"
        measurement = f"{self.measurement(result)}{uncorrected_note(result, pairs)}"
        conclusion, unplanned = self.conclusion(result, pairs), self.unplanned(result)
        if remaining and conclusion.endswith(unplanned):
            cases = count_noun(remaining, "case was not asked", "cases were not asked")
            conclusion = f"{conclusion.removesuffix(unplanned)}{cases}"
        return f"{measurement}: {conclusion}"

    def headline(self, result: GateResult) -> str:
        """Return what the metric did, and how that compares with the bound."""
        if result.n == 0 or result.status is GateStatus.ERROR:
            return result.sentence
        return f"{result.words} {self.describe_change(result)}, {self.describe_reference(result)}"

    def describe_change(self, result: GateResult) -> str:
        """Return what the metric did: `fell 90.3 → 81.7 %`."""
        return quantity_of(result).moved(result.base, result.tuned, result.delta)

    def describe_reference(self, result: GateResult) -> str:
        """Return how that compares with the bound: `more than the 2 points allowed`."""
        rule = self.rule(result)
        if result.status is GateStatus.PASS:
            return f"{rule} {self.pass_words}"
        return IN_BRIEF.get(result.reason, "{} is not proven").format(rule)

    def measurement(self, result: GateResult) -> str:
        """Return what was measured, with its interval and the number of cases."""
        how, cases = self.quantity_format(result), count_noun(result.n, "case")
        interval = how.interval(result.low, result.high, result.confidence, sign=False)
        measured = f"{self.described} is {how.level(self.value(result))}{interval}"
        return f"{result.metric}: {measured} on {cases}"

    def rule(self, result: GateResult) -> str:
        """Return the rule as a subject: `the floor of 0.9`."""
        return f"the {self.name} of {self.margin_words(result)}"

    def conclusion(self, result: GateResult, pairs: Pairs) -> str:
        """Return what follows for the rule."""
        rule = self.rule(result)
        if result.status is GateStatus.PASS and result.reason is None:
            return f"{rule} {self.pass_words}"
        if result.reason in CONCLUSIONS:
            return CONCLUSIONS[result.reason].format(rule)
        return self.open_conclusion(result, pairs)

    def open_conclusion(self, result: GateResult, pairs: Pairs) -> str:
        """Return what follows if the evidence is too thin."""
        more = self.deciding_evidence(result, pairs)
        return f"{self.rule(result)} is neither proven nor refuted; {more}"

    def deciding_evidence(self, result: GateResult, pairs: Pairs) -> str:
        """Return what would decide an undecided gate."""
        missing = missing_evidence(result, pairs)
        if missing is not None:
            return missing
        if result.needed_n is None:
            return self.unplanned(result)
        in_all, most = result.needed_n, max(result.needed_most or 0, result.needed_n)
        often = f"would decide it in 4 of 5 runs{self.describe_assumption(result)}"
        if in_all <= result.n:
            return f"{in_all} cases {often}, and this was the fifth"
        span = f"{in_all}" if most == in_all else f"{in_all} to {most}"
        return f"about {in_all - result.n} more ({span} in all) {often}"

    def describe_assumption(self, result: GateResult) -> str:
        """Return the condition on the cases that would decide the gate."""
        return self.assumption_words

    def unplanned(self, result: GateResult) -> str:
        """Return what follows if the number of cases is unknown."""
        return self.unplanned_words

    def label(self, result: GateResult) -> str:
        """Return what the gate asks for, for a table."""
        return f"{self.name} {self.margin_label(result)}"

    def margin_words(self, result: GateResult) -> str:
        """Return the margin as sentences write it: `2 points`, `90 %`, or `2%` of base."""
        return self.quantity_format(result).margin(result.margin, points=self.tests_difference)

    def margin_label(self, result: GateResult) -> str:
        """Return the margin as tables write it; a share is `of base`."""
        return self.margin_words(result) + " of base" * isinstance(result.margin, str)

    def contradicts(self, result: GateResult, base: float | None, tuned: float) -> bool:
        """Return whether a case speaks against passing: tuned scored worse than base."""
        return base is not None and (base - tuned) * (result.higher_is_better or -1) > ROUNDING

    def contradicting_words(self, result: GateResult) -> str:
        """Return what to call the cases that speak against it: `24 cases that lost`."""
        return "that lost"

    # --- the picture

    def quantity_format(self, result: GateResult) -> QuantityFormat:
        """Return how the measured value is written: plain, or like the metric's scores."""
        metrics = result.estimate is None and (self.tests_difference or self.reads_level)
        return quantity_of(result) if metrics else QuantityFormat()

    def value(self, result: GateResult) -> float | None:
        """Return the measured value; None if nothing was estimated."""
        return result.delta if result.estimate is None else result.estimate

    def reference(self, result: GateResult) -> float | None:
        """Return the value that the picture compares with."""
        return 0.0

    def boundary(self, result: GateResult) -> float | None:
        """Return the value that the interval must clear, on the picture's axis."""
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
"""Keys with a field of their own in `Gate`; other keys go to its `options`."""
