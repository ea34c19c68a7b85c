"""Severe drop: only a share of the cases may lose a lot, even if the mean holds.

On twenty cases no interval of the mean shows a catastrophe on one case in twelve; the count of
severe drops has an exact interval.

Source: Clopper and Pearson (1934); with clusters, Gaffke's bound over the clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.comparison.mean_level import rate_interval, rate_p_value
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.comparison.sample_size import often_certified, smallest_n
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.quantity import QuantityFormat, format_over, quantity_of
from tunegate.harness.gates._margin import numeric_margin
from tunegate.harness.gates.contract.conclusions import looks_broken
from tunegate.harness.gates.contract.gate_kind import GateKind, KeySchemas
from tunegate.harness.gates.contract.outcome import DecisionContext, GateOutcome, PlannedTest
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.wording import count_noun


class SevereDropGate(GateKind):
    """A limit on the share of cases that lose at least `drop`."""

    name = "severe_drop"
    order = 50
    summary = "the share of cases that lose `drop` or more is proven to be within the limit"
    schema: ClassVar[KeySchemas] = {
        "severe_drop": {
            "type": "number",
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "description": "Largest share of cases that may lose `drop` or more.",
        },
        "drop": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Loss from which a drop is severe; half the metric's range by default.",
        },
    }
    counts_cases = True
    quantity = "severe drops"
    described = "the share of severe drops"

    @property
    def compares(self) -> bool:
        """Return False: it counts single cases."""
        return False

    def problems(self, gate: Gate, metric: Metric) -> Iterator[str]:
        """Yield why a metric without a range, or with 0/1 scores, has no severe drops."""
        if metric.binary or metric.range is None:
            kind = "0 or 1, so every loss is total" if metric.binary else "unbounded"
            yield f"severe_drop on {gate.metric!r}, whose scores are {kind}; use a tolerance"
            return
        low, high = metric.range
        if gate.drop is not None and gate.drop > high - low:
            yield (
                f"drop={gate.drop:g}: scores of {gate.metric!r} are between {low:g} and {high:g}, "
                "so no drop is that large"
            )

    def decide(self, gate: Gate, pairs: Pairs, context: DecisionContext) -> GateOutcome:
        """Decide on the interval of the share of cases that lose at least `drop`."""
        limit, drop = numeric_margin(gate), _severe_loss(gate, pairs)
        open_ = GateOutcome(
            GateStatus.UNDECIDED,
            GateReason.UNDERPOWERED,
            None,
            0.0,
            1.0,
            pairs.why_too_few,
            drop=drop,
        )
        if pairs.too_few:
            return open_
        dropped = _dropped(pairs, drop)
        share = sum(dropped) / pairs.n
        found = rate_interval(dropped, pairs.clusters, gate.confidence)
        low, high = found.low, found.high
        open_ = replace(open_, low=low, high=high, method=found.method, share=share)
        if high <= limit and not _shows_drops(gate, pairs, drop):
            return replace(open_, reason=GateReason.INSENSITIVE)
        if high <= limit:
            return replace(open_, status=GateStatus.PASS, reason=None)
        if low > limit and context.regressed:
            return replace(open_, status=GateStatus.FAIL, reason=GateReason.SEVERE_DROPS)
        if share == limit:
            return open_
        # Cases that prove the limit kept, or broken, if the share stays as it is.
        rate, bound = (share, limit) if share > limit else (1 - share, 1 - limit)
        further = context.planned_confidence or gate.confidence
        needed = smallest_n(lambda n: often_certified(n, rate, bound, further))
        return replace(open_, needed_n=needed)

    def refutes(self, gate: Gate) -> bool:
        """Return True."""
        return True

    def refutation(self, gate: Gate, pairs: Pairs) -> float:
        """Return the p-value of "the share is within the limit"."""
        dropped = _dropped(pairs, _severe_loss(gate, pairs))
        return rate_p_value(dropped, pairs.clusters, numeric_margin(gate))

    def judge_refusal(self, gate: Gate) -> str:
        """Return why no judge can decide it."""
        return "no label corrects a count of single answers, since the judge may be wrong on each"

    def refusals(self, gate: Gate, metric: Metric, n: int, gates: Sequence[Gate]) -> Iterator[str]:
        """Yield a limit that n cases cannot prove even if no case drops."""
        from tunegate.harness.stats.binary import clopper_pearson

        limit, confidence = numeric_margin(gate), gate.confidence
        needed = smallest_n(lambda n: clopper_pearson(0, n, confidence=confidence).high <= limit)
        if needed is not None and n < needed:
            yield (
                f"severe_drop={limit:g} on {gate.metric!r} cannot be proven with {n} cases even if "
                f"none drops: it takes {needed}; add cases, or allow a larger share"
            )

    def plan_test(self, gate: Gate, metric: Metric, pairs: Pairs | None) -> PlannedTest:
        """Return that it is not planned."""
        note = "not planned: depends on how many cases collapse"
        return PlannedTest(None, note, counts=False)

    def measurement(self, result: GateResult) -> str:
        """Return the number and share of the cases that lost `drop` or more."""
        how = self.quantity_format(result)
        interval = how.interval(result.low, result.high, result.confidence, sign=False)
        return (
            f"{result.metric} {self.describe_change(result)}, a share of {how.level(result.share)}"
            f"{interval}"
        )

    def describe_change(self, result: GateResult) -> str:
        """Return `lost 50 points or more on 5 of 60 cases`."""
        count, loss = round((result.share or 0.0) * result.n), quantity_of(result).size(result.drop)
        return f"lost {loss} or more on {count:,} of {count_noun(result.n, 'case')}"

    def rule(self, result: GateResult) -> str:
        """Return `the limit of 10 % on severe drops`."""
        return f"the limit of {self.margin_words(result)} on severe drops"

    def open_conclusion(self, result: GateResult, pairs: Pairs) -> str:
        """Return what would decide the gate, or why its interval alone does not."""
        if result.low is not None and result.low > float(result.margin):
            return looks_broken(self.rule(result))
        return super().open_conclusion(result, pairs)

    def label(self, result: GateResult) -> str:
        """Return `at most 10 % of the cases lose 30 points or more`."""
        margin = self.margin_label(result)
        loss = quantity_of(result).margin(result.drop or 0.0)
        return f"at most {margin} of the cases lose {loss} or more"

    def contradicts(self, result: GateResult, base: float | None, tuned: float) -> bool:
        """Return whether the case lost `drop` or more."""
        loss = 0.0 if base is None else (base - tuned if result.higher_is_better else tuned - base)
        return result.drop is not None and loss >= result.drop * (1 - 1e-12)

    def contradicting_words(self, result: GateResult) -> str:
        """Return how much the cases lost."""
        return f"that lost {quantity_of(result).margin(result.drop or 0.0)} or more"

    def quantity_format(self, result: GateResult) -> QuantityFormat:
        """Return the format of a share, whatever the metric's unit."""
        marks = (float(result.margin),)
        return format_over((result.share, result.low, result.high), rate=True, marks=marks)

    def value(self, result: GateResult) -> float | None:
        """Return the share of cases with a severe drop."""
        return result.share

    def passes_above(self, result: GateResult) -> bool:
        """Return False: the share must be below the limit."""
        return False


def _severe_loss(gate: Gate, pairs: Pairs) -> float:
    """Return the loss from which a drop is severe; half the metric's range by default."""
    bound = pairs.metric.bound
    return gate.drop if gate.drop is not None else (1.0 if bound is None else bound) / 2


def _dropped(pairs: Pairs, drop: float) -> list[int]:
    """Return 1 for each case that loses `drop` or more, which rounding must not spare."""
    return [int(d <= -drop * (1 - 1e-12)) for d in pairs.differences]


def _shows_drops(gate: Gate, pairs: Pairs, drop: float) -> bool:
    """Return whether enough cases are proven to have `drop` to lose, or tuned gained.

    Source: assay sensitivity, as for a tolerance.
    """
    if pairs.metric.range is None:
        return True
    low, high = pairs.metric.range
    worst = low if pairs.metric.higher_is_better else high
    able = [int(pairs.sign * (b - worst) >= drop * (1 - 1e-12)) for b in pairs.base]
    interval = rate_interval(able, pairs.clusters, gate.confidence)
    return interval.low > numeric_margin(gate) or is_proven(pairs, 0.0, gate.confidence)


severe_drop = SevereDropGate()
