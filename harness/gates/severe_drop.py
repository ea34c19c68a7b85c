"""Severe drop: only a share of the cases may lose a lot, even if the mean holds.

On twenty cases no interval of the mean shows a catastrophe on one case in twelve; the count of
severe drops has an exact interval.

Source: Clopper and Pearson (1934); with clusters, Gaffke's bound over the clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.comparison.mean_level import rate_interval, rate_p_value
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.comparison.sample_size import often_certified, smallest_n
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.quantity import QuantityFormat, format_over, quantity_of
from tunegate.harness.gates._margin import numeric_margin
from tunegate.harness.gates.contract.gate_kind import GateKind, KeySchemas
from tunegate.harness.gates.contract.outcome import (
    DecisionContext,
    Finding,
    GateOutcome,
    PlannedTest,
)
from tunegate.harness.gates.contract.words import LOOKS_BROKEN, GateWords
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
    words = GateWords(
        quantity="severe drops",
        described="the share of severe drops",
        measured="{metric} {moved}, a share of {value}{interval}",
        moved="lost {drop} or more on {count} of {cases}",
        rule="the limit of {margin} on severe drops",
        label="at most {bound} of the cases lose {loss} or more",
        against="that lost {loss} or more",
    )

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
            facts={"drop": drop},
        )
        if pairs.too_few:
            return open_
        dropped = _dropped(pairs, drop)
        share = sum(dropped) / pairs.n
        interval = rate_interval(dropped, pairs.clusters, gate.confidence)
        low, high = interval.low, interval.high
        facts = {"drop": drop, "share": share}
        open_ = replace(open_, low=low, high=high, method=interval.method, facts=facts)
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
            cases = count_noun(n, "case")
            yield (
                f"severe_drop={limit:g} on {gate.metric!r} cannot be proven with {cases} even if "
                f"none drops: it takes {needed}; add cases, or allow a larger share"
            )

    def plan_test(self, gate: Gate, metric: Metric, pairs: Pairs | None) -> PlannedTest:
        """Return that it is not planned."""
        note = "not planned: depends on how many cases collapse"
        return PlannedTest(None, note, counts=False)

    def tolerated_share(self, gate: Gate, metric: Metric) -> tuple[float, str]:
        """Return the share of the cases that may drop."""
        return numeric_margin(gate), "its cases"

    def finding(
        self, result: GateResult, pairs: Pairs | None = None, remaining: int = 0
    ) -> Finding:
        """Return that the interval alone would break the limit."""
        if result.reason is not GateReason.UNDERPOWERED or result.low is None:
            return Finding()
        return Finding(LOOKS_BROKEN if result.low > float(result.margin) else "")

    def phrases(self, result: GateResult) -> Mapping[str, str]:
        """Return the count of severe drops, and what a severe one loses."""
        how = quantity_of(result)
        return {
            "count": f"{round((result.share or 0.0) * result.n):,}",
            "drop": how.size(result.drop),
            "loss": how.margin(result.drop or 0.0),
        }

    def contradiction(self, result: GateResult, base: float | None, tuned: float) -> float:
        """Return the case's loss, if it is `drop` or more."""
        loss = 0.0 if base is None else (base - tuned if result.higher_is_better else tuned - base)
        severe = result.drop is not None and loss >= result.drop * (1 - 1e-12)
        return loss if severe else 0.0

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
