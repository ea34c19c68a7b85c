"""Tolerance: tuned must not be worse than base by a margin or more (non-inferiority)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from tunegate.harness.comparison.corpus_level import LEAST
from tunegate.harness.comparison.delta import interval_around, is_proven
from tunegate.harness.comparison.pairs import JudgedPairs, Pairs
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.quantity import ROUNDING
from tunegate.harness.gates._difference import DifferenceGate
from tunegate.harness.gates._margin import absolute_margin, share_of_base
from tunegate.harness.gates.contract.gate_kind import KeySchemas
from tunegate.harness.gates.contract.outcome import (
    DecisionContext,
    EquivalenceMargin,
    Finding,
    GateOutcome,
    PlannedTest,
)
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.gates.contract.words import LOOKS_BROKEN, SEEN, GateWords
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate, MetricRecord
from tunegate.harness.records.wording import count_noun
from tunegate.harness.stats.types import Interval

_BASE_GAINS_TOO, _BASE_IS_ZERO = "base_gains_too", "base_is_zero"
_FEW_CLUSTERS, _UNPLANNED_LOSS, _TOO_LARGE = "few_clusters", "unplanned_loss", "too_large"
_MAY_EXCEED = "a loss is proven, and it may exceed the {bound} tolerated"
_IS_SHARE = "{rule} is a share of {base}'s level, which is "


class ToleranceGate(DifferenceGate):
    """The acceptable loss against base, a number or a share of base's level."""

    name = "tolerance"
    order = 40
    summary = "tuned is proven not to be worse than base by the tolerance or more"
    schema: ClassVar[KeySchemas] = {
        "tolerance": {
            "description": "Tuned may not be worse than base by more than this, proven; "
            '"2%" is of base\'s value.',
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {
                    "type": "string",
                    "pattern": r"^(?=.*[1-9])[0-9]{1,4}(\.[0-9]{1,9})?%$(?!\n)",
                    "description": 'a share of base above zero such as "2%"',
                },
            ],
        },
        "blocks": {
            "type": "boolean",
            "description": "false: a proven loss leaves the gate undecided instead of failing it, "
            "for scores that fall for better answers too. The tolerance must be proven all the "
            "same.",
        },
    }
    ruled_out = LOOKS_BROKEN
    words = GateWords(
        measured="{metric} {change}{interval} on {cases}",
        quantity="difference",
        label="worse by less than {bound}",
        conclusion={
            GateReason.REGRESSED: "a regression is proven; at most {bound} tolerated",
            _BASE_GAINS_TOO: "base asked again also scores better, and without that {rule} is not "
            "proven",
            GateReason.LOSS_MAY_BE_STYLE: "a loss is proven and {rule} is not, which does not "
            "prove worse answers (blocks = false): better ones in other words score lower, too. "
            "Read the cases that lost most, or let a pairwise judge compare the answers",
            GateReason.LOSS_NOT_BOUNDED: f"{_MAY_EXCEED}; {{more}}",
            _UNPLANNED_LOSS: _MAY_EXCEED,
            _FEW_CLUSTERS: "{rule} holds on the {clusters} clusters seen, but so few may miss some "
            "that are lost as a whole; add cases of other clusters",
            GateReason.NOT_COMPUTABLE: f"{_IS_SHARE}not proven to differ from 0; give the "
            "tolerance as a number",
            _BASE_IS_ZERO: f"{_IS_SHARE}0; give the tolerance as a number",
        },
        brief={
            GateStatus.PASS: "within the {bound} allowed",
            GateReason.REGRESSED: "more than the {bound} allowed",
            GateReason.LOSS_NOT_BOUNDED: "a proven loss, which may exceed the {bound} allowed",
            GateReason.UNDERPOWERED: "staying within the {bound} allowed is not proven",
        },
        assumption={
            "": " if tuned is as good as {base}",
            **dict.fromkeys((SEEN, _TOO_LARGE), " if the loss seen is the true one"),
        },
        unplanned={_TOO_LARGE: "more cases would prove the loss, if it is real"},
    )

    def problems(self, gate: Gate, metric: Metric) -> Iterator[str]:
        """Yield a tolerance that no loss can exceed."""
        if not isinstance(gate.margin, str):
            yield from super().problems(gate, metric)
        elif metric.higher_is_better and share_of_base(gate.margin) >= 1:
            yield f"tolerance={gate.margin!r} lets tuned lose all it has; allow less"

    def judged_pairs(self, gate: Gate, pairs: Pairs) -> JudgedPairs:
        """Return the pairs and minus the tolerance; a relative one shifts the pairs instead."""
        if isinstance(gate.margin, str):
            return JudgedPairs(pairs.relative(share_of_base(gate.margin)), 0.0)
        return JudgedPairs(pairs, -gate.margin)

    def judged_interval(self, gate: Gate, pairs: Pairs) -> Interval:
        """Return the interval of the improvement; of a share of base, around base's own level."""
        judged = self.judged_pairs(gate, pairs).pairs
        if judged is pairs or pairs.too_few:
            return super().judged_interval(gate, pairs)
        interval = interval_around(judged, (0.0,), gate.confidence)
        ends: Iterable[float] = (interval.low, interval.high)
        if not all(map(math.isfinite, ends)):
            return interval_around(pairs, (0.0,), gate.confidence)  # ratios are all equal
        if judged.in_logarithms:
            level, allowed = pairs.base_level, math.log1p(share_of_base(str(gate.margin)))
            ends = (-level * math.expm1(min(allowed - end / level, 709.0)) for end in ends)
        else:
            ends = (end + pairs.estimate - judged.estimate for end in ends)
        low, high = ends
        # Whether a loss is proven is decided by the difference itself.
        lost = is_proven(pairs.exchanged(), 0.0, gate.confidence)
        high = min(high, math.nextafter(0.0, -1.0)) if lost else max(high, 0.0)
        return replace(interval, low=low, high=high)

    def decide(self, gate: Gate, pairs: Pairs, context: DecisionContext) -> GateOutcome:
        """Decide a gate on the mean difference; a share of nothing is not computable."""
        outcome = super().decide(gate, pairs, context)
        if pairs.too_few or outcome.status is GateStatus.FAIL or not isinstance(gate.margin, str):
            return outcome
        if pairs.base_level and pairs.knows_base_sign(gate.confidence):
            return outcome
        if outcome.status is GateStatus.PASS and is_proven(pairs, 0.0, gate.confidence):
            return outcome
        return replace(
            outcome,
            status=GateStatus.UNDECIDED,
            reason=GateReason.NOT_COMPUTABLE,
            needed_n=None,
            needed_most=None,
        )

    def _verdict_on(
        self, gate: Gate, pairs: Pairs, *, passed: bool, regressed: bool, high: float, most: float
    ) -> tuple[GateStatus, GateReason | None]:
        """Return the outcome; a proven loss fails the gate if more than the margin was lost."""
        outcome = super()._verdict_on(
            gate, pairs, passed=passed, regressed=regressed, high=high, most=most
        )
        if outcome[1] is not GateReason.REGRESSED:
            return outcome
        if not gate.options.get("blocks", True):
            return GateStatus.UNDECIDED, GateReason.LOSS_MAY_BE_STYLE
        judged = self.judged_pairs(gate, pairs)
        if judged.pairs.estimate >= judged.margin - ROUNDING:
            return GateStatus.UNDECIDED, GateReason.LOSS_NOT_BOUNDED
        return outcome

    def finding(
        self, result: GateResult, pairs: Pairs | None = None, remaining: int = 0
    ) -> Finding:
        """Return why the interval alone does not decide the gate."""
        if result.reason is GateReason.WITHIN_NOISE and self._clears_margin(result):
            return Finding(_BASE_GAINS_TOO)
        if result.reason is GateReason.LOSS_NOT_BOUNDED and result.needed_n is None:
            return Finding(_UNPLANNED_LOSS)
        if result.reason is GateReason.NOT_COMPUTABLE and not result.base:
            return Finding(_BASE_IS_ZERO)
        open_ = result.reason is GateReason.UNDERPOWERED
        if open_ and pairs is not None and self._holds_on_those_seen(result, pairs):
            return Finding(_FEW_CLUSTERS, {"clusters": str(pairs.n_clusters)})
        return super().finding(result, pairs, remaining)

    def _holds_on_those_seen(self, result: GateResult, pairs: Pairs) -> bool:
        """Return whether only clusters that were not seen keep the gate from passing."""
        allowed = absolute_margin(result)
        if pairs.clusters is None or allowed is None:
            return False
        return pairs.interval(result.confidence).low > -allowed

    def _clears_margin(self, result: GateResult) -> bool:
        """Return whether the interval alone is within the tolerance."""
        boundary = self.boundary(result)
        near = result.low if result.higher_is_better else result.high
        if boundary is None or near is None:
            return False
        return near > boundary if result.higher_is_better else near < boundary

    def verdict_on_proof(
        self, gate: Gate, pairs: Pairs, high: float
    ) -> tuple[GateStatus, GateReason | None]:
        """Return a pass, unless base may have had nothing to lose."""
        if not _shows_loss(gate, pairs):
            return GateStatus.UNDECIDED, GateReason.INSENSITIVE
        return GateStatus.PASS, GateReason.PASS_WITH_LOSS if high < 0 else None

    def outlook(self, result: GateResult) -> str:
        """Return that the loss seen is the true one, if "as good as base" is ruled out."""
        if not self.shows_loss(result):
            return ""
        loss, margin = abs(result.delta or 0.0), absolute_margin(result)
        return _TOO_LARGE if margin is not None and loss > margin else SEEN

    def hoped_effect(self, gate: Gate, pairs: Pairs) -> float | None:
        """Return what the gate would measure if tuned scored like base."""
        if not isinstance(gate.margin, str):
            return 0.0
        return self.judged_pairs(gate, pairs.unchanged()).pairs.estimate

    def refusals(self, gate: Gate, metric: Metric, n: int, gates: Sequence[Gate]) -> Iterator[str]:
        """Yield why n cases prove nothing even if no answer changes."""
        # If a gain is asked of the metric too, its wins prove a tolerance with fewer cases.
        if any(g.metric == gate.metric and gate_kind(g.kind).is_goal for g in gates):
            return
        if metric.corpus is not None and n < LEAST:
            return  # advisory in any case
        least, written, best = _least_cases(gate, metric), f"{gate.margin!r}", ""
        if isinstance(gate.margin, str):
            level = 1.0 if metric.range is None else max(map(abs, metric.range))
            best = f"base scores {level:g} on all of them and "
        else:
            written = f"{gate.margin:g}"
        if least is not None and n < least:
            cases = count_noun(n, "case")
            yield (
                f"tolerance={written} on {gate.metric!r} cannot be proven with {cases} even if "
                f"{best}no answer changes: it takes {least}; add cases, or widen the tolerance"
            )

    def plan_test(self, gate: Gate, metric: Metric, pairs: Pairs | None) -> PlannedTest:
        """Return the test at no true difference; a share of base needs an earlier run."""
        margin, note = _planned_margin(gate, pairs)
        if margin is None:
            if pairs is None and metric.binary:
                fewest = _fewest_cases(gate, metric)
                note = f"{note}; it takes at least {fewest} cases on which base scores 1"
            return PlannedTest(None, note)
        blind = pairs is not None and not _shows_loss(gate, pairs)
        if blind:
            note = "the run does not prove that base has that much to lose"
        return PlannedTest(margin, note, refused=blind)

    def target_effect(self, gate: Gate, provable: float) -> float | None:
        """Return no change; a relative tolerance is never given up."""
        return None if isinstance(gate.margin, str) else 0.0

    def equivalence_margin(self, gate: Gate, default: float | None) -> EquivalenceMargin | None:
        """Return the tolerance itself."""
        return EquivalenceMargin(gate.margin, "the suite's tolerance")

    def allowance(self, result: GateResult) -> float | None:
        """Return the tolerance in the metric's unit."""
        return absolute_margin(result)

    def tolerated_share(self, gate: Gate, metric: Metric) -> tuple[float, str]:
        """Return the tolerance as a share of base's level, or of the metric's range."""
        if isinstance(gate.margin, str):
            return share_of_base(gate.margin), "base's level"
        return (0.0, "") if metric.bound is None else (gate.margin / metric.bound, "its range")


def _shows_loss(gate: Gate, pairs: Pairs) -> bool:
    """Return whether the pairs could have shown a loss of the margin, or show a gain.

    On a new task base is near 0 and has little to lose; a proven gain passes all the same.

    Source: assay sensitivity (ICH E10): non-inferiority to a base that fails proves nothing.
    """
    return _is_sensitive(gate, pairs) or is_proven(pairs, 0.0, gate.confidence)


def _is_sensitive(gate: Gate, pairs: Pairs) -> bool:
    """Return whether base is proven further from the worst level than the margin.

    A share of base is taken at the near end of base's interval.
    """
    worst = _worst_level(pairs)
    if worst is None:
        return True
    level = pairs.exchanged().estimator.level(gate.confidence)
    nearest = level.low if pairs.metric.higher_is_better else level.high
    margin = gate.margin
    if isinstance(margin, str):
        margin = share_of_base(margin) * abs(nearest)
    return pairs.sign * (nearest - worst) > margin


def _worst_level(pairs: Pairs) -> float | None:
    """Return the level of guessing, or the bad end of the range; None without either."""
    if pairs.chance is not None:
        return pairs.chance
    least, most = (0.0, 1.0) if pairs.binary else pairs.metric.range or (-math.inf, math.inf)
    worst = least if pairs.metric.higher_is_better else most
    return worst if math.isfinite(worst) else None


def _fewest_cases(gate: Gate, metric: Metric) -> int:
    """Return the least number of 0/1 cases that can prove the tolerance.

    For a share of base's level these are cases on which base scores 1.
    """
    from tunegate.harness.stats.power import smallest_provable_n

    margin = gate.margin
    if isinstance(margin, str):
        share = share_of_base(margin)
        # "At most 1 + s times base" is "base at least 1/(1 + s) of tuned", a loss of s/(1 + s).
        margin = share if metric.higher_is_better else share / (1 + share)
    return smallest_provable_n(margin, confidence=gate.confidence)


def _least_cases(gate: Gate, metric: Metric) -> int | None:
    """Return the least number of cases on which unchanged scores can prove the tolerance.

    None if any number may do, or if a judge's labels need more anyway.
    """
    if metric.binary:
        return _fewest_cases(gate, metric)
    if metric.range is None or metric.needs is CellKind.LATENCY or metric.judge is not None:
        return None
    least = min(_unseen_units(gate, metric, level) for level in metric.range)
    if metric.corpus is not None or metric.range != (0.0, 1.0):
        return least
    # Scores that all turn out to be 0 or 1 are judged by counts.
    return min(least, _fewest_cases(gate, metric))


def _unseen_units(gate: Gate, metric: Metric, level: float) -> int:
    """Return the cases that prove the tolerance if all scores are at one level."""
    from tunegate.harness.stats.paired_mean import unseen_loss_units

    assert metric.range is not None
    least, most = metric.range
    record = MetricRecord(
        name=metric.name,
        use=metric.name,
        needs=metric.needs,
        higher_is_better=metric.higher_is_better,
        range=metric.range,
        binary=False,
    )
    # A hair off 0 and 1, which would be taken for successes and failures.
    inside = level + 1e-9 * ((least + most) / 2 - level)
    judged = gate_kind(gate.kind).judged_pairs(gate, Pairs("", record, (inside,), (inside,)))
    pairs = judged.pairs
    bound = pairs.reach[0] if pairs.reach else pairs.metric.bound or most - least
    return unseen_loss_units(
        judged.margin, bound=bound, effect=pairs.estimate, confidence=gate.confidence
    )


def _planned_margin(gate: Gate, pairs: Pairs | None) -> tuple[float | None, str]:
    """Return the margin, below 0, and what a share of base means; None if unknown."""
    if not isinstance(gate.margin, str):
        return -gate.margin, ""
    if pairs is None:
        return None, f"{gate.margin} of base: base's level is unknown; plan with --from RUN"
    base = pairs.base_level
    margin = share_of_base(gate.margin) * abs(base)
    if not margin > 0:
        return None, f"{gate.margin} of base's level of 0 in the run is nothing; give a number"
    return -margin, f"{gate.margin} of base's {base:.3g} is {margin:.2g}"


tolerance = ToleranceGate()
