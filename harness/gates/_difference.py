"""Gates on the mean difference of tuned and base: gains and tolerances.

A goal passes if its interval is above the gain, a guardrail if it is above minus the tolerance. A
regression is claimed only if the difference is proven below zero after Holm's adjustment over the
whole run.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from tunegate.harness.comparison.delta import interval_around, is_proven, plannable_effect
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.gates._margin import absolute_margin, percentage_hint, share_of_base
from tunegate.harness.gates.contract.gate_kind import GateKind
from tunegate.harness.gates.contract.outcome import DecisionContext, Finding, GateOutcome
from tunegate.harness.gates.contract.words import LOSS_SHOWS
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.stats.types import Interval


class DifferenceGate(GateKind):
    """A bound on the mean difference of tuned and base."""

    tests_difference = True
    ruled_out: ClassVar[str]
    """Code of the finding that the interval is on the wrong side of the margin."""

    def problems(self, gate: Gate, metric: Metric) -> Iterator[str]:
        """Yield a margin that no difference of the metric's scores can reach."""
        if isinstance(gate.margin, str) or metric.range is None:
            return
        low, high = metric.range
        margin, hint = gate.margin, percentage_hint(gate.margin, metric.range)
        between = f"scores of {gate.metric!r} are between {low:g} and {high:g}"
        if margin >= high - low:
            yield f"{self.name}={margin:g}: {between}, so no difference is that large{hint}"
        if gate.expected_gain is not None and gate.expected_gain > high - low:
            yield (
                f"expected_gain={gate.expected_gain:g}: {between}, so no difference is that large"
            )

    def refutation(self, gate: Gate, pairs: Pairs) -> float:
        """Return the p-value of "tuned is not worse than base at all"."""
        return pairs.reversed_test().p_value

    def decide(self, gate: Gate, pairs: Pairs, context: DecisionContext) -> GateOutcome:
        """Decide a gate on the mean difference."""
        outcome = self._beyond_margin(gate, pairs, context)
        noise = context.noise
        if noise is None:
            return outcome
        # A difference that inexact arithmetic may have made proves nothing.
        if outcome.reason is GateReason.REGRESSED:
            cleared = noise.exchanged().clears(pairs.exchanged(), 0.0, gate.confidence)
        elif outcome.status is GateStatus.PASS and (self.is_goal or noise.favors_second):
            judged = self.judged_pairs(gate, pairs)
            cleared = noise.clears(judged.pairs, judged.margin, gate.confidence)
        else:
            return outcome
        if cleared:
            return outcome
        return replace(outcome, status=GateStatus.UNDECIDED, reason=GateReason.WITHIN_NOISE)

    def judged_interval(self, gate: Gate, pairs: Pairs) -> Interval:
        """Return the interval of the improvement that decides the gate."""
        judged = self.judged_pairs(gate, pairs)
        bounds = (judged.margin, 0.0, gate.expected_gain)
        margins = [margin for margin in bounds if margin is not None]
        return interval_around(judged.pairs, margins, gate.confidence)

    def _beyond_margin(self, gate: Gate, pairs: Pairs, context: DecisionContext) -> GateOutcome:
        judged = self.judged_pairs(gate, pairs)
        test = judged.pairs.test(judged.margin)
        passed = is_proven(judged.pairs, judged.margin, gate.confidence)
        interval = self.judged_interval(gate, pairs)
        # Any of several parts may rule the gain out by chance, so they share the error.
        shared = gate.model_copy(update={"confidence": 1 - (1 - gate.confidence) / context.parts})
        most = self.judged_interval(shared, pairs).high if context.parts > 1 else interval.high
        status, reason = self._verdict_on(
            gate, pairs, passed=passed, regressed=context.regressed, high=interval.high, most=most
        )
        open_ = reason in (GateReason.UNDERPOWERED, GateReason.LOSS_NOT_BOUNDED)
        # No number of further cases is planned for a run that was given up.
        plannable = open_ and not pairs.too_few and pairs.labels is None and not context.remaining
        hoped = self.hoped_effect(gate, pairs) if plannable else None
        level = context.planned_confidence or gate.confidence
        needed = None
        if hoped is not None:
            effect = plannable_effect(judged.pairs, hoped, gate.confidence)
            needed = judged.pairs.estimator.plan(effect, judged.margin, level)
        methods = dict.fromkeys((interval.method, test.method))
        ends = (interval.low, interval.high) if pairs.sign > 0 else (-interval.high, -interval.low)
        return GateOutcome(
            status,
            reason,
            test.p_value,
            *ends,
            "; ".join(methods),
            None if needed is None else needed.n,
            None if needed is None else needed.most,
        )

    def _verdict_on(
        self, gate: Gate, pairs: Pairs, *, passed: bool, regressed: bool, high: float, most: float
    ) -> tuple[GateStatus, GateReason | None]:
        if pairs.too_few:
            return GateStatus.UNDECIDED, GateReason.UNDERPOWERED
        if passed:
            return self.verdict_on_proof(gate, pairs, high)
        if regressed:
            return GateStatus.FAIL, GateReason.REGRESSED
        if gate.expected_gain is not None and most < gate.expected_gain:
            return GateStatus.FAIL, GateReason.NO_WORTHWHILE_GAIN
        return GateStatus.UNDECIDED, GateReason.UNDERPOWERED

    @abstractmethod
    def verdict_on_proof(
        self, gate: Gate, pairs: Pairs, high: float
    ) -> tuple[GateStatus, GateReason | None]:
        """Return how a gate ends if its difference is proven to exceed the margin.

        `high` is the upper end of the improvement's interval.
        """

    @abstractmethod
    def hoped_effect(self, gate: Gate, pairs: Pairs) -> float | None:
        """Return the improvement to plan further cases for, on the judged scale, if any."""

    def judge_margin(self, gate: Gate, base_level: float) -> float | None:
        """Return the margin in the metric's unit."""
        if isinstance(gate.margin, str):
            return share_of_base(gate.margin) * abs(base_level)
        return gate.margin

    def finding(
        self, result: GateResult, pairs: Pairs | None = None, remaining: int = 0
    ) -> Finding:
        """Return on which side of its margin, or of 0, the interval of an open gate is."""
        if result.reason is not GateReason.UNDERPOWERED:
            return Finding()
        if self._ruled_out(result):
            return Finding(self.ruled_out)
        # Unadjusted, the loss is proven; Holm's procedure took it back.
        return Finding(LOSS_SHOWS) if self.shows_loss(result) else Finding()

    def proves_gain(self, result: GateResult) -> bool:
        """Return whether a goal is reached, or the interval is that of an improvement."""
        if self.is_goal or result.low is None or result.high is None:
            return super().proves_gain(result)
        return result.low > 0 if result.higher_is_better else result.high < 0

    def shows_loss(self, result: GateResult) -> bool:
        """Return whether the interval, by itself, is a loss."""
        best = result.high if result.higher_is_better else result.low
        return best is not None and (best if result.higher_is_better else -best) < 0

    def _ruled_out(self, result: GateResult) -> bool:
        """Return whether the interval is on the wrong side of the margin."""
        best = result.high if result.higher_is_better else result.low
        margin = absolute_margin(result)
        if best is None or margin is None:
            return False
        return (best if result.higher_is_better else -best) < (margin if self.is_goal else -margin)

    def boundary(self, result: GateResult) -> float | None:
        """Return the margin as a difference tuned − base."""
        margin = absolute_margin(result)
        if margin is None:
            return None
        return margin if self.is_goal is result.higher_is_better else -margin
