"""Gates on the level of tuned alone: floors and ceilings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.comparison.sample_size import smallest_n
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.gates._margin import numeric_margin, percentage_hint
from tunegate.harness.gates.contract.gate_kind import GateKind
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
from tunegate.harness.stats.types import Interval

FLOOR_MODE: Mapping[str, Any] = {
    "enum": ["observed", "certified", "zero_tolerance"],
    "description": "The mean must reach it (the default), its lower bound must, or every single "
    "case must.",
}
_ALPHAS = (1e-6, 0.4999)
"""One-sided errors between which the p-value of a level is searched."""
_NEAR = 1.01
"""Ratio of two errors that are near enough."""


_BROKEN_BY_A_CASE, _MAY_RISE, _MAY_FALL = "broken_by_a_case", "may_rise", "may_fall"
_OPEN, _MISSED, _MET = "open", "missed", "met"
_REASONS: tuple[str, ...] = (GateReason.BELOW_FLOOR, GateReason.ABOVE_CEILING)


def level_words(name: str, side: str, wanted: str) -> GateWords:
    """Return the words of a bound whose broken side is `side`: `below`, `above`."""
    return GateWords(
        quantity="tuned",
        described="tuned",
        measured="{metric} of {arm} is {value}{interval} on {cases}",
        label=f"tuned {wanted} {{bound}}",
        conclusion={
            _MISSED: "{rule} is missed, but not proven broken; {more}",
            _MET: "{rule} is met but not certified; {more}",
            _OPEN: "{rule} is open with {unseen} not asked",
            _MAY_RISE: "{rule} is open: the {count} not asked could lift it to {reach}",
            _MAY_FALL: "{rule} is open: the {count} not asked could pull it down to {reach}",
        },
        brief={
            _BROKEN_BY_A_CASE: f"with a case {side} {{rule}}",
            **dict.fromkeys(_REASONS, f"{side} {{rule}}"),
            GateReason.UNDERPOWERED: "{rule} is not certified",
        },
        assumption=" if tuned's level stays as it is",
        against={"": f"{side} the {name}", "lost": f"that lost and are {side} the {name}"},
        reference="base",
    )


class LevelGate(GateKind):
    """A bound on the level of tuned, from below or from above."""

    reads_level = True

    is_lower: ClassVar[bool]
    """Whether the bound is a floor instead of a ceiling."""
    broken: ClassVar[GateReason]
    """Why it fails."""
    flawless: ClassVar[str]
    """The 0/1 score that certifies the bound with the fewest cases, as a word."""

    def problems(self, gate: Gate, metric: Metric) -> Iterator[str]:
        """Yield a bound on the wrong side or that no level can break or reach, and a wrong mode."""
        if gate.floor_mode == "zero_tolerance" and metric.corpus is not None:
            yield (
                f"floor_mode = zero_tolerance asks every case, and {gate.metric!r} is one value "
                'over all of them; set aggregate = "mean" on the metric'
            )
        margin = numeric_margin(gate)
        if metric.range is None:
            return
        if metric.higher_is_better is not self.is_lower:
            better, other = ("less", "ceiling") if self.is_lower else ("more", "floor")
            declare = f", or declare @metric(higher_is_better={self.is_lower})"
            yield (
                f"{self.name}={margin:g}: {better} is better for {gate.metric!r}, so a better "
                f"model breaks it; write {other} = {margin:g}{'' if metric.is_bundled else declare}"
            )
            return
        low, high = metric.range
        if margin == (low if self.is_lower else high):
            beyond = "below" if self.is_lower else "above"
            never = f"no score of {gate.metric!r} is {beyond} it: it never fails"
            yield f"{self.name}={margin:g}: {never}"
        if low <= margin <= high:
            return
        yield (
            f"{self.name}={margin:g}: scores of {gate.metric!r} are between {low:g} and "
            f"{high:g}{percentage_hint(margin, metric.range)}"
        )

    def decide(self, gate: Gate, pairs: Pairs, context: DecisionContext) -> GateOutcome:
        """Decide a floor or ceiling on tuned alone."""
        level = pairs.estimator.level(gate.confidence)
        status, needed = self._status(gate, pairs, level, context), None
        if status is GateStatus.UNDECIDED and gate.floor_mode == "certified":
            further = context.planned_confidence or gate.confidence
            needed = self._cases_to_decide(numeric_margin(gate), pairs, further)
        reason = {GateStatus.FAIL: self.broken, GateStatus.PASS: None}.get(
            status, GateReason.UNDERPOWERED
        )
        return GateOutcome(status, reason, None, level.low, level.high, level.method, needed)

    def refutes(self, gate: Gate) -> bool:
        """Return whether the bound must be certified; a mean needs no proof to be beyond it."""
        return gate.floor_mode == "certified"

    def refutation(self, gate: Gate, pairs: Pairs) -> float:
        """Return the p-value of "the bound is kept", by inverting the interval of the level."""
        margin, floor = numeric_margin(gate), self.is_lower

        def proven(alpha: float) -> bool:
            level = pairs.estimator.level(1 - 2 * alpha)
            return _beyond(level.high if floor else level.low, margin, floor=floor)

        least, most = _ALPHAS
        if not proven(most):
            return 1.0
        if proven(least):
            return least
        while most / least > _NEAR:
            middle = math.sqrt(least * most)
            least, most = (least, middle) if proven(middle) else (middle, most)
        return most

    def _status(
        self, gate: Gate, pairs: Pairs, level: Interval, context: DecisionContext
    ) -> GateStatus:
        margin, floor, remaining = numeric_margin(gate), self.is_lower, context.remaining

        def beyond(value: float) -> bool:
            return _beyond(value, margin, floor=floor)

        if gate.floor_mode == "zero_tolerance" and any(map(beyond, pairs.tuned)):
            return GateStatus.FAIL
        if pairs.n < 2:
            return GateStatus.UNDECIDED
        worst, best = (level.low, level.high) if floor else (level.high, level.low)
        # An interval wholly beyond the bound proves it broken, whatever other cases would bring.
        if beyond(best) and (context.regressed or not self.refutes(gate)):
            return GateStatus.FAIL
        if gate.floor_mode != "certified":
            least, most = _curtailed_bounds(pairs, remaining)
            worst, best = (least, most) if floor else (most, least)
            if beyond(best):
                return GateStatus.FAIL
            if gate.floor_mode == "zero_tolerance" and remaining:
                return GateStatus.UNDECIDED
            return GateStatus.UNDECIDED if beyond(worst) else GateStatus.PASS
        certified = worst >= margin if floor else worst <= margin
        return GateStatus.PASS if certified else GateStatus.UNDECIDED

    def _cases_to_decide(self, bound: float, pairs: Pairs, confidence: float) -> int | None:
        """Return the cases that certify the bound, or prove it broken, at tuned's level."""
        if pairs.too_few or pairs.labels is not None:
            return None
        broken = _beyond(pairs.tuned_level, bound, floor=self.is_lower)
        return pairs.estimator.plan_level(bound, confidence, is_lower=self.is_lower is not broken)

    def judge_refusal(self, gate: Gate) -> str:
        """Return why a judge cannot decide a bound that tolerates no failure."""
        if gate.floor_mode == "zero_tolerance":
            return "one slip of the judge would decide a gate that tolerates none"
        return ""

    def rests_on_interval(self, gate: Gate) -> bool:
        """Return whether the bound must be certified."""
        return gate.floor_mode == "certified"

    def refusals(self, gate: Gate, metric: Metric, n: int, gates: Sequence[Gate]) -> Iterator[str]:
        """Yield why n flawless 0/1 scores could not certify the bound."""
        if not metric.binary or gate.floor_mode != "certified":
            return
        rule = f"{self.name}={numeric_margin(gate):g} on {gate.metric!r}"
        needed = self._certifying_cases(gate)
        if needed is None:
            yield f"{rule} cannot be certified with any number of cases; leave room for an error"
        elif n < needed:
            cases = count_noun(n, "case")
            yield (
                f"{rule} cannot be certified with {cases} even if all are right: it takes "
                f'{needed}; add cases, or use floor_mode = "observed"'
            )

    def plan_test(self, gate: Gate, metric: Metric, pairs: Pairs | None) -> PlannedTest:
        """Return why it is not planned, and what certifying takes."""
        note = "not planned: depends on tuned's level"
        if gate.floor_mode == "certified" and metric.binary:
            least = self._certifying_cases(gate)
            if least is not None:
                note += f"; certifying it takes {least} cases, all {self.flawless}"
        if gate.floor_mode == "certified" and pairs is not None and pairs.n:
            plan = pairs.estimator.plan_level
            needed = plan(numeric_margin(gate), gate.confidence, is_lower=self.is_lower)
            takes = "no number of cases" if needed is None else f"{needed} cases in 4 of 5 runs"
            note += f"; at tuned's {pairs.tuned_level:.3g} of the run {takes}"
        return PlannedTest(None, note, counts=False)

    def _certifying_cases(self, gate: Gate) -> int | None:
        """Return the fewest flawless 0/1 cases that certify the bound."""
        return smallest_n(lambda n: self._certifies(gate, n))

    def _certifies(self, gate: Gate, n: int) -> bool:
        """Return whether n flawless cases certify the bound (Clopper and Pearson 1934)."""
        from tunegate.harness.stats.binary import clopper_pearson

        if self.is_lower:
            return clopper_pearson(n, n, confidence=gate.confidence).low >= numeric_margin(gate)
        return clopper_pearson(0, n, confidence=gate.confidence).high <= numeric_margin(gate)

    def finding(
        self, result: GateResult, pairs: Pairs | None = None, remaining: int = 0
    ) -> Finding:
        """Return where tuned's level is, and how far the cases not asked could move it."""
        if result.reason not in (self.broken, GateReason.UNDERPOWERED):
            return Finding()
        margin, floor = float(result.margin), self.is_lower
        missed = _beyond(result.tuned or 0.0, margin, floor=floor)
        if result.reason is self.broken:
            return Finding("" if missed else _BROKEN_BY_A_CASE)
        if remaining and pairs is not None:
            return self._open_finding(result, pairs, remaining)
        best = result.high if floor else result.low
        if missed and best is not None and _beyond(best, margin, floor=floor):
            return Finding(LOOKS_BROKEN)
        return Finding(_MISSED if missed else _MET)

    def _open_finding(self, result: GateResult, pairs: Pairs, remaining: int) -> Finding:
        """Return whether the cases not asked could move the level over the bound."""
        ends, margin = _curtailed_bounds(pairs, remaining), float(result.margin)
        broken = _beyond(pairs.tuned_level, margin, floor=self.is_lower)
        up = broken is self.is_lower
        to = ends[1] if up else ends[0]
        if not math.isfinite(to) or _beyond(to, margin, floor=self.is_lower) is broken:
            return Finding(_OPEN, {"unseen": count_noun(remaining, "case")})
        reach = self.quantity_format(result).level(to)
        return Finding(_MAY_RISE if up else _MAY_FALL, {"count": f"{remaining:,}", "reach": reach})

    def contradiction(self, result: GateResult, base: float | None, tuned: float) -> float:
        """Return how far the score of tuned is beyond the bound."""
        margin = float(result.margin)
        return abs(tuned - margin) if _beyond(tuned, margin, floor=self.is_lower) else 0.0

    def value(self, result: GateResult) -> float | None:
        """Return tuned's level."""
        return result.tuned

    def reference(self, result: GateResult) -> float | None:
        """Return base's level."""
        return result.base

    def passes_above(self, result: GateResult) -> bool:
        """Return whether the level must be above the bound."""
        return self.is_lower


def _curtailed_bounds(pairs: Pairs, remaining: int) -> tuple[float, float]:
    """Return the least and the largest level of tuned that the remaining cases can bring.

    Source: deterministic curtailment, which costs no error.
    """
    level = pairs.tuned_level
    if not remaining:
        return level, level
    least, most = pairs.metric.range or (-math.inf, math.inf)
    total = pairs.n + remaining
    return (
        (level * pairs.n + least * remaining) / total,
        (level * pairs.n + most * remaining) / total,
    )


def _beyond(level: float, margin: float, *, floor: bool) -> bool:
    """Return whether a level breaks the bound by more than the rounding of a mean."""
    slack = 1e-12 * max(abs(level), abs(margin))
    return level < margin - slack if floor else level > margin + slack
