"""Ratio: tuned must be at most, or at least, a multiple of base, for lengths, times and costs.

The ratio is the geometric mean of tuned/base over the cases, so that twice as long on one case and
half as long on another cancel, and one slow case does not decide alone.

Source: the interval of the mean log-ratio, as `stats.latency.geometric_mean_ratio`. For other
values than times it allows for endless answers that were not seen.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from tunegate.harness.comparison.delta import is_proven, plannable_effect
from tunegate.harness.comparison.estimator import exact_mean
from tunegate.harness.comparison.pairs import JudgedPairs, PairFill, Pairs
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.gates.contract.gate_kind import GateKind, KeySchemas
from tunegate.harness.gates.contract.outcome import (
    DecisionContext,
    Finding,
    GateOutcome,
    PlannedTest,
)
from tunegate.harness.gates.contract.words import LOOKS_BROKEN, SEEN, GateWords
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate, MetricRecord
from tunegate.harness.records.wording import count_noun

_OFFSET = 2.0
"""Added to log-ratios, which may be 0 or 1 and would be taken for 0/1 scores."""
_ENDLESS = math.log(20.0)
"""Log-ratio of an answer that was not seen: an endless one is about 20 times as long. With 3 % of
them a bound that is exactly reached passes in .30 of runs with 40 cases if none are allowed for,
and in .02 so. Times are left out: there are few of them, and a gate on lengths sees the same."""

_NO_RATIO = "no_ratio"
"""Finding: a value of 0 has no ratio."""


class RatioGate(GateKind):
    """A bound on the geometric mean of tuned/base."""

    name = "ratio"
    order = 60
    summary = "the geometric mean of tuned/base is proven to be within the bound"
    schema: ClassVar[KeySchemas] = {
        "ratio_at_most": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Largest ratio of tuned to base, proven; 1.2 allows a fifth more.",
        },
        "ratio_at_least": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Smallest ratio of tuned to base, proven; 0.8 allows a fifth less.",
        },
    }
    margin_keys = ("ratio_at_most", "ratio_at_least")
    ranks_cases = False  # a case that is a word shorter is not better
    words = GateWords(
        quantity="ratio",
        # It names no arm, since incumbents and artifacts are compared in the same words.
        measured="{metric} {moved}{interval} on {cases}",
        moved={"": "changed by a factor of {value}", _NO_RATIO: "has no ratio"},
        rule="the ratio of {side} {margin}",
        holds="is proven",
        label="by a factor of {side} {bound}",
        conclusion={
            _NO_RATIO: "{rule} is undecided ({method}); a tolerance in per cent takes values of 0 "
            "too",
        },
        assumption={"": " if nothing changes", SEEN: " if the change seen is the true one"},
        unplanned="how many cases decide it depends on how large the change is",
        against="beyond the bound",
        reference="1",
    )

    def fields(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return the bound, and whether it is the largest or the smallest ratio."""
        key = "ratio_at_most" if "ratio_at_most" in table else "ratio_at_least"
        return {"margin": table[key], "options": {"bound": key.removeprefix("ratio_")}}

    def margin_key(self, gate: Gate) -> str:
        """Return `ratio_at_most` or `ratio_at_least`."""
        return f"ratio_{_bound(gate)}"

    def problems(self, gate: Gate, metric: Metric) -> Iterator[str]:
        """Yield a metric whose scores of single cases have no ratio."""
        key = f"{self.margin_key(gate)}={float(gate.margin):g}"
        if metric.corpus is not None:
            yield (
                f"{key}: {gate.metric!r} is one value over all cases, and a ratio is of each case; "
                'set aggregate = "mean" on the metric'
            )
        elif metric.binary or (metric.range is not None and metric.range[0] < 0):
            kind = "0 or 1" if metric.binary else "negative for some answers"
            yield f"{key}: scores of {gate.metric!r} are {kind} and have no ratio; use a tolerance"

    def decide(self, gate: Gate, pairs: Pairs, context: DecisionContext) -> GateOutcome:
        """Decide on the interval of the mean log-ratio: within the bound, beyond it, or neither."""
        # A value of 0 has no ratio; leaving the pair out would favor empty answers.
        without = _count_without_ratio(pairs)
        estimate = _exp(exact_mean(_logs(pairs))) if pairs.n and not without else None
        reason, method = GateReason.UNDERPOWERED, pairs.why_too_few
        if without:
            reason = GateReason.NOT_COMPUTABLE
            method = f"no ratio: {without:,} of {count_noun(pairs.n, 'pair')} not above 0"
        open_ = GateOutcome(
            GateStatus.UNDECIDED,
            reason,
            None,
            -math.inf,
            math.inf,
            method,
            estimate=estimate,
        )
        if without or pairs.too_few:
            return open_
        return self._on_ratios(gate, pairs, open_, context)

    def refutes(self, gate: Gate) -> bool:
        """Return True."""
        return True

    def refutation(self, gate: Gate, pairs: Pairs) -> float:
        """Return the p-value of "the ratio is within the bound"."""
        if _count_without_ratio(pairs):
            return 1.0
        judged = self.judged_pairs(gate, pairs)
        return judged.pairs.exchanged().test(-judged.margin).p_value

    def _on_ratios(
        self, gate: Gate, pairs: Pairs, open_: GateOutcome, context: DecisionContext
    ) -> GateOutcome:
        """Decide a gate whose pairs all have a ratio; `open_` is the outcome if nothing does."""
        judged, confidence = self.judged_pairs(gate, pairs), gate.confidence
        interval = judged.pairs.interval(confidence)
        logs = (
            (interval.low, interval.high)
            if judged.pairs.sign > 0
            else (-interval.high, -interval.low)
        )
        # Without any spread the interval has no ends and says nothing.
        bounded = any(map(math.isfinite, logs))
        open_ = replace(
            open_,
            p_value=judged.pairs.test(judged.margin).p_value if bounded else None,
            low=_exp(logs[0]) if bounded else -math.inf,
            high=_exp(logs[1]) if bounded else math.inf,
            method=f"geometric mean ratio, {interval.method}",
        )
        if is_proven(judged.pairs, judged.margin, confidence):
            return replace(open_, status=GateStatus.PASS, reason=None)
        if context.regressed and is_proven(judged.pairs.exchanged(), -judged.margin, confidence):
            return replace(open_, status=GateStatus.FAIL, reason=GateReason.BOUND_BROKEN)
        if not bounded:
            return open_
        # A bound that asks for a change does not say how large the change is hoped to be.
        level = None if context.remaining else context.planned_confidence or confidence
        effect = plannable_effect(judged.pairs, 0.0, confidence)
        plan = judged.pairs.estimator.plan
        needed = plan(effect, judged.margin, level) if level else None
        if needed is None:
            return open_
        return replace(open_, needed_n=needed.n, needed_most=needed.most)

    def judged_pairs(self, gate: Gate, pairs: Pairs) -> JudgedPairs:
        """Return the log-ratios, whose mean must clear the bound's logarithm."""
        at_least = _bound(gate) == "at_least"
        metric = pairs.metric.model_copy(
            update={"binary": False, "range": None, "higher_is_better": at_least}
        )
        scaled = replace(
            pairs,
            metric=metric,
            base=(_OFFSET,) * pairs.n,
            tuned=tuple(_OFFSET + value for value in _logs(pairs)),
            corpus=None,
            labels=None,
            in_logarithms=True,
            reach=_unseen_ratio(pairs.metric),
        )
        return JudgedPairs(scaled, _log_margin(gate))

    def imputation(self, gate: Gate, observed: Pairs, *, best: bool) -> PairFill:
        """Return the worst, or best, ratio for the bound, whatever the metric's direction."""
        small = (_bound(gate) == "at_least") is not best
        if observed.metric.range is not None:
            low, high = observed.metric.range
            ends = (high, low) if small else (low, high)
            return lambda base, tuned: (
                ends[0] if base is None else base,
                ends[1] if tuned is None else tuned,
            )
        extreme = _exp((min if small else max)(_logs(observed), default=0.0))

        def fill(base: float | None, tuned: float | None) -> tuple[float, float]:
            if base is None:
                base = 1.0 if tuned is None else tuned / extreme
            return base, min(base * extreme, sys.float_info.max) if tuned is None else tuned

        return fill

    def claims_loss(self, result: GateResult) -> bool:
        """Return whether a bound is broken that base itself would satisfy."""
        margin = float(result.margin)
        allows_equality = margin < 1 if _bound(result) == "at_least" else margin > 1
        return result.reason is GateReason.BOUND_BROKEN and allows_equality

    def plan_test(self, gate: Gate, metric: Metric, pairs: Pairs | None) -> PlannedTest:
        """Return the test of equal arms on log-ratios; their spread takes an earlier run."""
        margin = _log_margin(gate)
        if margin >= 0:
            note = "not planned: it asks for a change, and depends on how large that is"
            return PlannedTest(None, note, counts=False)
        if pairs is None:
            return PlannedTest(None, "the ratios' spread is unknown; plan with --from RUN")
        if _count_without_ratio(pairs):
            return PlannedTest(None, "the run has values that are not above 0 and have no ratio")
        note = f"in logarithms: the bound is {abs(margin):.2g}"
        return PlannedTest(margin, note)

    def target_effect(self, gate: Gate, provable: float) -> float | None:
        """Return no change, or the smallest provable one if no change breaks the bound."""
        return 0.0 if _log_margin(gate) < 0 else provable

    def against_incumbent(self, gate: Gate, gates: Sequence[Gate]) -> Gate | None:
        """Return the gate if equal arms satisfy it."""
        return gate if _log_margin(gate) < 0 else None

    def finding(
        self, result: GateResult, pairs: Pairs | None = None, remaining: int = 0
    ) -> Finding:
        """Return that there is no ratio, or that the interval alone would break the bound."""
        if result.estimate is None:
            return Finding(_NO_RATIO)
        end = result.high if self.passes_above(result) else result.low
        if result.reason is not GateReason.UNDERPOWERED or end is None:
            return Finding()
        return Finding(LOOKS_BROKEN if self.contradiction(result, 1.0, end) > 0 else "")

    def phrases(self, result: GateResult) -> Mapping[str, str]:
        """Return on which side of the bound the ratio must be."""
        return {"side": _bound(result).replace("_", " ")}

    def outlook(self, result: GateResult) -> str:
        """Return that the change seen is the true one, if "no change" is ruled out."""
        least, most = result.low or 0.0, math.inf if result.high is None else result.high
        equal = least <= 1 if _bound(result) == "at_most" else most >= 1
        return "" if equal else SEEN

    def contradiction(self, result: GateResult, base: float | None, tuned: float) -> float:
        """Return how far the case's own ratio is beyond the bound."""
        if base is None or not (base > 0 and tuned > 0):
            return 0.0
        of_bound = tuned / base / float(result.margin)
        return 1 - of_bound if _bound(result) == "at_least" else of_bound - 1

    def value(self, result: GateResult) -> float | None:
        """Return the ratio."""
        return result.estimate

    def reference(self, result: GateResult) -> float | None:
        """Return the ratio of equal arms."""
        return 1.0

    def passes_above(self, result: GateResult) -> bool:
        """Return whether the bound is the smallest ratio."""
        return _bound(result) == "at_least"


def _bound(gate: Gate | GateResult) -> str:
    """Return `at_most` or `at_least`."""
    return str(gate.options.get("bound", "at_most"))


def _log_margin(gate: Gate) -> float:
    """Return what the oriented mean log-ratio must exceed; equal arms satisfy it below 0."""
    margin = math.log(float(gate.margin))
    return margin if _bound(gate) == "at_least" else -margin


def _unseen_ratio(metric: MetricRecord) -> tuple[float, float] | None:
    """Return how far the log-ratio of an unseen case may be on the bound's side, and beyond.

    None for times.
    """
    if metric.needs is CellKind.LATENCY:
        return None
    least, most = metric.range or (0.0, math.inf)
    widest = math.log(most / least) if least > 0 else math.inf
    return min(widest, _ENDLESS), math.inf


def _exp(log_ratio: float) -> float:
    """Return the ratio of a log-ratio; at most e^709, beyond which a float overflows."""
    return math.exp(min(log_ratio, 709.0))


def _logs(pairs: Pairs) -> list[float]:
    """Return the log-ratio of each pair; zeros if one of them has no ratio."""
    if _count_without_ratio(pairs):
        return [0.0] * pairs.n
    return [math.log(t) - math.log(b) for b, t in zip(pairs.base, pairs.tuned, strict=True)]


def _count_without_ratio(pairs: Pairs) -> int:
    return sum(not (b > 0 and t > 0) for b, t in zip(pairs.base, pairs.tuned, strict=True))


ratio = RatioGate()
