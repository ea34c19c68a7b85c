"""The contract of a gate kind: all that tunegate asks of one.

Defaults suit a guardrail that compares tuned with base, so a new kind writes its keys, `decide`,
and its `words`. A kind decides and names what it found; `sentences` makes the sentences.
`registry.gate_kind` finds a kind by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from tunegate.harness.comparison.pairs import JudgedPairs, PairFill, Pairs
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.quantity import ROUNDING, QuantityFormat, quantity_of
from tunegate.harness.gates.contract.outcome import (
    DecisionContext,
    EquivalenceMargin,
    Finding,
    GateOutcome,
    PlannedTest,
)
from tunegate.harness.gates.contract.words import GateWords
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate

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
    """Whether it tests the mean difference of tuned and base, and its interval is of that. If so, a
    proven loss fails it, and the noise floor applies."""
    counts_cases: ClassVar[bool] = False
    """Whether it rests on single cases even if the level is a corpus value."""
    ranks_cases: ClassVar[bool] = True
    """Whether a case with a better score is a better case, and not merely within a bound. A metric
    whose gates all say False has no regressions on the page."""

    words: ClassVar[GateWords] = GateWords()
    """How its results are worded."""

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
        named = {key: refined.pop(key) for key in _REFINING_FIELDS if key in refined}
        fields = {"margin": table[self.key_in(table) or self.name], **named}
        return {**fields, "options": refined} if refined else fields

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

    def proves_gain(self, result: GateResult) -> bool:
        """Return whether a result proves tuned better than base; a goal does if it is reached."""
        return self.is_goal and result.status is GateStatus.PASS

    def contradiction(self, result: GateResult, base: float | None, tuned: float) -> float:
        """Return how much a case's scores speak against passing; 0 or less if they do not.

        By default that is the loss of tuned against base.
        """
        loss = 0.0 if base is None else (base - tuned) * (result.higher_is_better or -1)
        return loss if loss > ROUNDING else 0.0

    def finding(
        self, result: GateResult, pairs: Pairs | None = None, remaining: int = 0
    ) -> Finding:
        """Return what a result shows beyond its status and reason, as a code that `words` has.

        Args:
            result: The result.
            pairs: The pairs that it rests on; None for a stored result.
            remaining: Cases not asked.
        """
        return Finding()

    def outlook(self, result: GateResult) -> str:
        """Return the effect that further cases are planned for: a code, "" for the hoped one."""
        return ""

    # --- before and during a run

    def rests_on_interval(self, gate: Gate) -> bool:
        """Return whether an interval decides the gate, which needs enough cases or clusters."""
        return True

    def refusals(self, gate: Gate, metric: Metric, n: int, gates: Sequence[Gate]) -> Iterator[str]:
        """Yield why a flawless result on n cases could not pass the gate."""
        yield from ()

    def plan_test(self, gate: Gate, metric: Metric, pairs: Pairs | None) -> PlannedTest:
        """Return how the gate is planned, with the pairs of an earlier run if there is one."""
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

    def tolerated_share(self, gate: Gate, metric: Metric) -> tuple[float, str]:
        """Return the share that tuned may lose and still pass, and of what; 0 if it says none."""
        return 0.0, ""

    # --- for sentences and the picture

    def phrases(self, result: GateResult) -> Mapping[str, str]:
        """Return what its templates name beyond the fields that all kinds have."""
        return {}

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
