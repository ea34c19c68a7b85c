"""Required sample size after a run: how many cases would decide a gate that is undecided.

Answers are for 80 % power and rounded up by nothing: they are approximations, good to say "a few
more" or "not with this suite".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunegate.harness.comparison.pairs import Pairs, by_unit, is_binary, mean
from tunegate.harness.records.manifest import Gate, GateKind

POWER = 0.80
LIMIT = 1_000_000
"""Cases beyond which the honest answer is that more cases are no way out."""


def difference_needs(gate: Gate, pairs: Pairs, margin: float) -> int | None:
    """Return the cases that would prove the gate at the observed difference.

    A guardrail is planned without the gain that this run happened to show. None where the observed
    difference lies on the wrong side of the margin, or more than a million would be needed.
    """
    if pairs.n < 2:
        return None
    effect = pairs.estimate
    if gate.kind is GateKind.TOLERANCE and not isinstance(gate.margin, str):
        effect = min(effect, 0.0)
    if effect <= margin:
        return None
    if pairs.binary and abs(margin) < 1:  # see `pairs.test`
        cases: int | None = _binary(gate, pairs, effect, margin)
    else:
        cases = _mean(gate, pairs.independent, pairs.n, effect, margin)
    return cases if cases is not None and cases <= LIMIT else None


def level_needs(gate: Gate, pairs: Pairs) -> int | None:
    """Return the cases that would certify a floor or ceiling at the observed level of tuned."""
    assert not isinstance(gate.margin, str)
    if pairs.n < 2:
        return None
    sign = 1.0 if gate.kind is GateKind.FLOOR else -1.0
    level, margin = sign * pairs.tuned_level, sign * gate.margin
    if level <= margin:
        return None
    if not is_binary(pairs.metric, pairs.tuned):
        cases = _mean(gate, _level_units(pairs), pairs.n, level, margin)
        return cases if cases is not None and cases <= LIMIT else None
    rate = mean(pairs.tuned) if sign > 0 else 1 - mean(pairs.tuned)
    floor = gate.margin if sign > 0 else 1 - gate.margin
    return fewest(lambda n: often_certified(n, rate, floor, gate.confidence))


def fewest(enough: Callable[[int], bool]) -> int | None:
    """Return the smallest n with `enough(n)`, by doubling and bisection; None beyond the limit."""
    high = 1
    while not enough(high):
        high *= 2
        if high > LIMIT:
            return None
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def often_certified(n: int, rate: float, floor: float, confidence: float) -> bool:
    """Return whether the successes of 4 runs in 5 certify the floor."""
    from scipy.stats import binom  # type: ignore[import-untyped]  # ships no types

    from tunegate.harness.stats.binary import clopper_pearson

    successes = n if rate >= 1 else int(binom.ppf(1 - POWER, n, rate))
    return clopper_pearson(successes, n, confidence=confidence).low >= floor


def _binary(gate: Gate, pairs: Pairs, effect: float, margin: float) -> int:
    from tunegate.harness.stats import clusters, power

    discordance = max((pairs.wins + pairs.losses) / pairs.n, abs(effect), 1 / pairs.n)
    deff = 1.0
    if pairs.clusters is not None:
        deff = clusters.design_effect([round(d) for d in pairs.differences], pairs.clusters)
    return power.binary_sample_size(
        effect=effect,
        discordance=discordance,
        margin=margin,
        confidence=gate.confidence,
        power=POWER,
        deff=deff,
    ).n


def _level_units(pairs: Pairs) -> list[float]:
    """Return the independent values whose mean is tuned's level."""
    if pairs.corpus is None:
        return by_unit(pairs.tuned, pairs.clusters)
    return list(map(float, pairs.corpus.tuned.replicates.pseudo_values))


def _mean(
    gate: Gate, independent: Sequence[float], n: int, effect: float, margin: float
) -> int | None:
    """Return the cases for a mean; with clusters the number of clusters times their mean size."""
    from tunegate.harness.stats import power

    spread = deviation(independent)
    # Without this, differences of a billionth would search through astronomic numbers.
    if not spread > 0 or (effect - margin) / spread < 2 / LIMIT**0.5:
        return None
    count = power.mean_sample_size(
        effect=effect, deviation=spread, margin=margin, confidence=gate.confidence, power=POWER
    ).n
    return -(-count * n // len(independent))


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of a sample of at least two values, however large they are."""
    import numpy as np

    scale = max(map(abs, values)) or 1.0
    return float(np.std(np.asarray(values) / scale, ddof=1)) * scale
