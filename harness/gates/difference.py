"""Gates on a difference or a level: pass, fail, undecided or error, each with its reason.

A goal passes when its interval lies above the gain, a guardrail when it lies above minus the
tolerance; a regression is claimed only where the difference is proven below zero after Holm's
adjustment over the whole run.
"""

from __future__ import annotations

import math
from dataclasses import replace

from tunegate.harness.comparison.delta import Delta, proven
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.gates.rule import Outcome
from tunegate.harness.gates.sentences import gate_sentence
from tunegate.harness.gates.severe_drop import severe, severe_size
from tunegate.harness.records.manifest import Gate, GateKind
from tunegate.harness.records.verdict import GateReason, GateResult, GateStatus


def decide_gate(
    gate: Gate,
    pairs: Pairs,
    *,
    regressed: bool,
    noise: float | None = None,
    remaining: int = 0,
) -> GateResult:
    """Decide one gate.

    Args:
        gate: The rule.
        pairs: The complete pairs of its metric.
        regressed: Whether "the metric is worse than base" is proven, over all metrics of the run.
        noise: Mean |difference| of base to itself asked again; None where arithmetic is exact. A
            claimed gain or regression that is no larger is undecided.
        remaining: Cases not asked: an observed bound is decided where they cannot change it.
    """
    delta = Delta(pairs, gate.confidence)
    if gate.kind.is_level:
        outcome = _level(gate, pairs, remaining)
    elif gate.kind is GateKind.SEVERE_DROP:
        outcome = severe(gate, pairs)
    else:
        outcome = _beyond_noise(
            _difference(gate, pairs, delta, regressed=regressed), gate, delta.estimate, noise
        )
    result = GateResult(
        metric=gate.metric,
        kind=gate.kind,
        status=outcome.status,
        reason=outcome.reason,
        sentence="",
        higher_is_better=pairs.metric.higher_is_better,
        base=delta.base if pairs.n else None,
        tuned=delta.tuned if pairs.n else None,
        delta=delta.estimate if pairs.n else None,
        low=_finite(outcome.low),
        high=_finite(outcome.high),
        confidence=gate.confidence,
        method=outcome.method,
        margin=gate.margin,
        p_value=outcome.p_value,
        n=pairs.n,
        noise=noise if gate.kind.compares else None,
        drop=severe_size(gate, pairs) if gate.kind is GateKind.SEVERE_DROP else None,
        share=outcome.share,
        needed_n=outcome.needed_n,
        advisory=pairs.advisory and gate.kind is not GateKind.SEVERE_DROP,
    )
    return result.model_copy(update={"sentence": gate_sentence(result, pairs, remaining)})


def _beyond_noise(outcome: Outcome, gate: Gate, delta: float, noise: float | None) -> Outcome:
    """Take back a claim of a difference that arithmetic alone could have made."""
    gained = gate.kind is GateKind.GAIN and outcome.status is GateStatus.PASS
    claimed = gained or outcome.reason is GateReason.REGRESSED
    if noise is None or not claimed or abs(delta) > noise:
        return outcome
    return replace(outcome, status=GateStatus.UNDECIDED, reason=GateReason.WITHIN_NOISE)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _difference(gate: Gate, pairs: Pairs, delta: Delta, *, regressed: bool) -> Outcome:
    judged = pairs
    if isinstance(gate.margin, str):
        judged, margin = pairs.relative(float(gate.margin.rstrip("%")) / 100), 0.0
    else:
        margin = gate.margin if gate.kind is GateKind.GAIN else -gate.margin
    test = judged.test(margin)
    status, reason = _verdict_on(
        gate,
        pairs,
        passed=proven(judged, margin, gate.confidence),
        regressed=regressed,
        high=delta.oriented.high,
    )
    open_ = status is GateStatus.UNDECIDED and reason is GateReason.UNDERPOWERED
    plannable = open_ and not pairs.too_few and pairs.labels is None
    guardrail = gate.kind is GateKind.TOLERANCE and judged is pairs
    needed = (
        judged.estimator.plan(margin, gate.confidence, without_gain=guardrail)
        if plannable
        else None
    )
    methods = dict.fromkeys((delta.oriented.method, test.method))
    return Outcome(status, reason, test.p_value, delta.low, delta.high, "; ".join(methods), needed)


def _verdict_on(
    gate: Gate, pairs: Pairs, *, passed: bool, regressed: bool, high: float
) -> tuple[GateStatus, GateReason | None]:
    if pairs.too_few:
        return GateStatus.UNDECIDED, GateReason.UNDERPOWERED
    if passed and gate.kind is GateKind.TOLERANCE and not sensitive(gate, pairs):
        return GateStatus.UNDECIDED, GateReason.INSENSITIVE
    if passed:
        loss = gate.kind is GateKind.TOLERANCE and high < 0
        return GateStatus.PASS, GateReason.PASS_WITH_LOSS if loss else None
    if regressed:
        return GateStatus.FAIL, GateReason.REGRESSED
    if gate.kind is GateKind.GAIN and gate.expected_gain is not None and high < gate.expected_gain:
        return GateStatus.FAIL, GateReason.NO_WORTHWHILE_GAIN
    return GateStatus.UNDECIDED, GateReason.UNDERPOWERED


def sensitive(gate: Gate, pairs: Pairs) -> bool:
    """Return whether base has something to lose: accuracy proven above chance plus the margin.

    Source: assay sensitivity (ICH E10): non-inferiority to a base at chance proves nothing.
    """
    if pairs.chance is None or isinstance(gate.margin, str):
        return True
    from tunegate.harness.stats.binary import clopper_pearson

    right = sum(round(value) for value in pairs.base)
    low = clopper_pearson(right, pairs.n, confidence=gate.confidence).low
    return low > pairs.chance + gate.margin


def _level(gate: Gate, pairs: Pairs, remaining: int) -> Outcome:
    """Decide a floor or ceiling on tuned alone."""
    assert not isinstance(gate.margin, str)
    level = pairs.estimator.level(gate.confidence)
    low, high, method = level.low, level.high, level.method
    floor = gate.kind is GateKind.FLOOR
    reason = GateReason.BELOW_FLOOR if floor else GateReason.ABOVE_CEILING
    failing = [_beyond(value, gate.margin, floor=floor) for value in pairs.tuned]
    if gate.floor_mode == "zero_tolerance" and any(failing):
        return Outcome(GateStatus.FAIL, reason, None, low, high, method)
    if pairs.n < 2:
        return Outcome(
            GateStatus.UNDECIDED, GateReason.UNDERPOWERED, None, low, high, pairs.why_too_few
        )
    least, most = _curtailed(pairs, remaining)
    if _beyond(most if floor else least, gate.margin, floor=floor):
        return Outcome(GateStatus.FAIL, reason, None, low, high, method)
    if gate.floor_mode != "certified" and _beyond(
        least if floor else most, gate.margin, floor=floor
    ):
        return Outcome(GateStatus.UNDECIDED, GateReason.UNDERPOWERED, None, low, high, method)
    if gate.floor_mode == "zero_tolerance" and remaining:
        return Outcome(GateStatus.UNDECIDED, GateReason.UNDERPOWERED, None, low, high, method)
    certain = low >= gate.margin if floor else high <= gate.margin
    if gate.floor_mode == "certified" and not certain:
        plannable = not pairs.too_few and pairs.labels is None
        needed = (
            pairs.estimator.plan_level(gate.margin, gate.confidence, is_lower=floor)
            if plannable
            else None
        )
        return Outcome(
            GateStatus.UNDECIDED, GateReason.UNDERPOWERED, None, low, high, method, needed
        )
    return Outcome(GateStatus.PASS, None, None, low, high, method)


def _curtailed(pairs: Pairs, remaining: int) -> tuple[float, float]:
    """Return the least and the largest level of tuned, whatever the remaining cases bring.

    Source: deterministic curtailment: exact, and free of charge.
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
