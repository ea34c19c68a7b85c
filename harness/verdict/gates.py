"""One gate at a time: from pairs to pass, fail, undecided or error, with the reason in words.

The rules are those of docs/statistics.md: a goal passes when its interval lies above the gain, a
guardrail when it lies above minus the tolerance; a regression is claimed only where the difference
is proven below zero after Holm's adjustment over the whole run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.manifest import Gate, GateKind
from harness.verdict.compare import FEW_CLUSTERS, Delta, Pairs, mean
from harness.verdict.record import GateReason, GateResult, GateStatus
from harness.verdict.words import gate_sentence


@dataclass(frozen=True, slots=True)
class Outcome:
    """Status, reason and the numbers that led to them."""

    status: GateStatus
    reason: GateReason | None
    p_value: float | None
    low: float
    high: float
    method: str
    needed_n: int | None = None


def decide_gate(gate: Gate, pairs: Pairs, *, regressed: bool) -> GateResult:
    """Decide one gate.

    Args:
        gate: The rule.
        pairs: The complete pairs of its metric.
        regressed: Whether the metric is proven worse than base, adjusted over the run.
    """
    delta = Delta(pairs, gate.confidence)
    if gate.kind.is_level:
        outcome = _level(gate, pairs)
    else:
        outcome = _difference(gate, pairs, delta, regressed=regressed)
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
        needed_n=outcome.needed_n,
    )
    return result.model_copy(update={"sentence": gate_sentence(result, pairs)})


def _finite(value: float) -> float | None:
    return value if abs(value) != float("inf") else None


def _difference(gate: Gate, pairs: Pairs, delta: Delta, *, regressed: bool) -> Outcome:
    judged = pairs
    if isinstance(gate.margin, str):
        judged, margin = pairs.relative(float(gate.margin.rstrip("%")) / 100), 0.0
    else:
        margin = gate.margin if gate.kind is GateKind.GAIN else -gate.margin
    oriented = judged.interval(gate.confidence)
    test = judged.test(margin)
    alpha = (1 - gate.confidence) / 2
    passed = oriented.low > margin and test.p_value <= alpha + 1e-12
    status, reason = _verdict_on(gate, pairs, delta, passed=passed, regressed=regressed)
    needed = _needed(gate, judged, margin) if status is GateStatus.UNDECIDED else None
    return Outcome(
        status, reason, test.p_value, delta.low, delta.high, delta.oriented.method, needed
    )


def _verdict_on(
    gate: Gate, pairs: Pairs, delta: Delta, *, passed: bool, regressed: bool
) -> tuple[GateStatus, GateReason | None]:
    high = delta.oriented.high
    if pairs.too_few:
        return GateStatus.UNDECIDED, GateReason.UNDERPOWERED
    if passed and gate.kind is GateKind.TOLERANCE and not _sensitive(gate, pairs):
        return GateStatus.UNDECIDED, GateReason.INSENSITIVE
    if passed:
        loss = gate.kind is GateKind.TOLERANCE and high < 0
        return GateStatus.PASS, GateReason.PASS_WITH_LOSS if loss else None
    if regressed:
        return GateStatus.FAIL, GateReason.REGRESSED
    if gate.kind is GateKind.GAIN and gate.expected_gain is not None and high < gate.expected_gain:
        return GateStatus.FAIL, GateReason.NO_WORTHWHILE_GAIN
    return GateStatus.UNDECIDED, GateReason.UNDERPOWERED


def _sensitive(gate: Gate, pairs: Pairs) -> bool:
    """Return whether base has something to lose: accuracy proven above chance plus the margin.

    Source: assay sensitivity (ICH E10): non-inferiority to a base at chance proves nothing.
    """
    if pairs.chance is None or isinstance(gate.margin, str):
        return True
    from harness.stats.binary import clopper_pearson

    right = sum(round(value) for value in pairs.base)
    low = clopper_pearson(right, pairs.n, confidence=gate.confidence).low
    return low > pairs.chance + gate.margin


def _needed(gate: Gate, pairs: Pairs, margin: float) -> int | None:
    """Return the cases for 80 % power if the true difference is the observed one.

    A guardrail is planned at no difference where less than that was lost by chance alone. None
    where the observed difference lies on the wrong side, so that more cases would not help.
    """
    from harness.stats import power

    if pairs.n < 2:
        return None
    effect = mean(pairs.differences)
    if effect <= margin:
        return None
    if pairs.binary:
        share = max((pairs.wins + pairs.losses) / pairs.n, abs(effect), 1 / pairs.n)
        return power.binary_sample_size(
            effect=effect, discordance=share, margin=margin, confidence=gate.confidence
        ).n
    spread = _spread(pairs)
    if spread == 0:
        return None
    return power.mean_sample_size(
        effect=effect, deviation=spread, margin=margin, confidence=gate.confidence
    ).n


def _spread(pairs: Pairs) -> float:
    centre = mean(pairs.differences)
    squares = sum((d - centre) ** 2 for d in pairs.differences)
    return float((squares / (pairs.n - 1)) ** 0.5)


def _level(gate: Gate, pairs: Pairs) -> Outcome:
    """Decide a floor or ceiling on tuned alone; both are floors once the sign is turned."""
    assert not isinstance(gate.margin, str)
    if pairs.n == 0:
        return Outcome(GateStatus.UNDECIDED, GateReason.UNDERPOWERED, None,
                       float("-inf"), float("inf"), "no scored case")
    low, high, method = _level_interval(pairs, gate.confidence)
    level = mean(pairs.tuned)
    floor = gate.kind is GateKind.FLOOR
    broken = level < gate.margin if floor else level > gate.margin
    certain = low >= gate.margin if floor else high <= gate.margin
    reason = GateReason.BELOW_FLOOR if floor else GateReason.ABOVE_CEILING
    if gate.floor_mode == "zero_tolerance":
        failures = sum(v < gate.margin if floor else v > gate.margin for v in pairs.tuned)
        broken, certain = failures > 0, True
    if broken:
        return Outcome(GateStatus.FAIL, reason, None, low, high, method)
    if gate.floor_mode == "certified" and not certain:
        return Outcome(
            GateStatus.UNDECIDED, GateReason.UNDERPOWERED, None, low, high, method
        )
    return Outcome(GateStatus.PASS, None, None, low, high, method)


def _level_interval(pairs: Pairs, confidence: float) -> tuple[float, float, str]:
    from harness.stats import binary, paired

    if set(pairs.tuned) <= {0.0, 1.0} and pairs.metric.range == (0.0, 1.0):
        k = sum(round(v) for v in pairs.tuned)
        interval = binary.clopper_pearson(k, pairs.n, confidence=confidence)
        return interval.low, interval.high, interval.method
    if pairs.n < 2:
        return float("-inf"), float("inf"), "too few cases for an interval"
    interval = paired.mean_interval(
        pairs.tuned, confidence=confidence, clusters=_usable_clusters(pairs)
    )
    low, high = pairs.metric.range or (float("-inf"), float("inf"))
    return max(interval.low, low), min(interval.high, high), interval.method


def _usable_clusters(pairs: Pairs) -> tuple[str, ...] | None:
    return pairs.clusters if (pairs.n_clusters or 0) >= 2 else None


def regressions(
    family: Mapping[tuple[str, str], Pairs], *, alpha: float = 0.05
) -> frozenset[tuple[str, str]]:
    """Return the (suite, metric) that are proven worse than base, Holm-adjusted over all of them.

    Source: Holm (1979); the probability of any false alarm is at most alpha.
    """
    from harness.stats.multiplicity import holm

    keys = [key for key, pairs in family.items() if not pairs.too_few]
    if not keys:
        return frozenset()
    adjusted = holm([family[key].reversed_test().p_value for key in keys])
    return frozenset(k for k, p in zip(keys, adjusted, strict=True) if p <= alpha)


__all__ = ["FEW_CLUSTERS", "Outcome", "decide_gate", "regressions"]
