"""Required sample size: how many cases prove a mean or certify a rate.

Sizes are approximations, good enough to say "a few more" or "not with this suite".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tunegate.harness.records.defaults import POWER

LIMIT = 1_000_000
"""Cases beyond which no number is enough, in practice."""


def cases_to_certify(rate: float, floor: float, confidence: float) -> int | None:
    """Return the cases that certify a floor of the rate in 4 of 5 runs."""
    return smallest_n(lambda n: often_certified(n, rate, floor, confidence))


def smallest_n(enough: Callable[[int], bool]) -> int | None:
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
    """Return whether the floor is certified in 4 of 5 runs."""
    from scipy.stats import binom  # type: ignore[import-untyped]  # ships no types

    from tunegate.harness.stats.binary import clopper_pearson

    successes = n if rate >= 1 else int(binom.ppf(1 - POWER, n, rate))
    return clopper_pearson(successes, n, confidence=confidence).low >= floor


def cases_for_mean(
    independent: Sequence[float],
    n: int,
    *,
    effect: float,
    margin: float,
    confidence: float,
    share: float = 1.0,
) -> int | None:
    """Return the cases that prove a mean; None beyond `LIMIT`.

    Args:
        independent: One value per case, or per cluster.
        n: Cases behind them.
        effect: The true mean.
        margin: What it must be proven to exceed.
        confidence: Two-sided level of the interval that decides.
        share: The variance to plan with, relative to the observed one.
    """
    from tunegate.harness.stats import power

    sigma = sample_deviation(independent) * math.sqrt(share)
    # Tiny differences would search through astronomic numbers.
    if not sigma > 0 or (effect - margin) / sigma < 2 / LIMIT**0.5:
        return None
    count = power.mean_sample_size(
        effect=effect, deviation=sigma, margin=margin, confidence=confidence, power=POWER
    ).n
    return within_limit(-(-count * n // len(independent)))


def within_limit(cases: int) -> int | None:
    """Return a sample size; None beyond `LIMIT`."""
    return cases if cases <= LIMIT else None


def sample_deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of a sample of at least two values, however large they are."""
    import numpy as np

    scale = max(map(abs, values)) or 1.0
    return float(np.std(np.asarray(values) / scale, ddof=1)) * scale
