"""Required sample size: how many cases prove a difference or certify a level.

Beside the number of cases, one number decides: the discordance ψ (the share of cases that only one
arm gets right) for 0/1 scores, the standard deviation σ of the paired differences for others. Sizes
are approximations, good to say "a few more" or "not with this suite".

Example:
    >>> comparison = PlannedComparison(
    ...     n=200, margin=0.0, confidence=0.90, spread=ScoreSpread(0.3, binary=True)
    ... )
    >>> round(comparison.detectable() or 0, 4)
    0.0958
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunegate.harness.defaults import POWER

LIMIT = 1_000_000
"""Cases beyond which the honest answer is that more cases are no way out."""
GUARDED = 50
"""Below this many independent cases the interval of a bounded continuous metric is widened."""


@dataclass(frozen=True, slots=True)
class ScoreSpread:
    """How differently the arms score the same cases."""

    value: float
    """Discordance ψ, or σ in the metric's unit."""
    binary: bool
    """Which of the two it is."""
    deff: float = 1.0
    """Design effect of cases that belong together, at least 1."""


@dataclass(frozen=True, slots=True)
class PlannedComparison:
    """A planned comparison: n pairs against a margin; differences are improvements.

    Effects are true differences in the metric's unit, powers probabilities of a pass. Each method
    is the planning function of `tunegate.harness.stats.power` for the spread's kind.
    """

    n: int
    """Paired cases, at least 2."""
    margin: float
    """What the difference must be proven to exceed: a gain, or minus a tolerance."""
    confidence: float
    """Two-sided level of the interval that decides."""
    spread: ScoreSpread
    limit: float | None = 1.0
    """Largest difference there is; None if unbounded."""

    def chance(self, effect: float) -> float:
        """Return the probability of a pass if the true difference is `effect`."""
        from tunegate.harness.stats import power

        given = {"effect": effect, "margin": self.margin, "confidence": self.confidence}
        spread, deff = self.spread.value, self.spread.deff
        if self.spread.binary:
            return power.binary_power(self.n, discordance=spread, deff=deff, **given).power
        return power.mean_power(self.n, deviation=spread, deff=deff, **given).power

    def cases(self, effect: float, wanted: float) -> int | None:
        """Return the fewest cases for a power of `wanted`; None if a million are too few.

        A bounded continuous metric takes 50 independent ones at least: with fewer its interval is
        guarded against catastrophes that were not seen.
        """
        from tunegate.harness.stats import power

        size, spread = effect - self.margin, self.spread
        if not size > 0 or (not spread.binary and size / spread.value < 2 / LIMIT**0.5):
            return None
        given = {"effect": effect, "margin": self.margin, "confidence": self.confidence}
        given |= {"power": wanted, "deff": spread.deff}
        if spread.binary:
            n = power.binary_sample_size(discordance=spread.value, **given).n
            if self.margin < 0 and effect <= 0:
                least = power.smallest_provable_n(-self.margin, confidence=self.confidence)
                n = max(n, math.ceil(least * spread.deff))
        else:
            n = power.mean_sample_size(deviation=spread.value, **given).n
            n = n if self.limit is None else max(n, math.ceil(GUARDED * spread.deff))
        return n if n <= LIMIT else None

    def detectable(self) -> float | None:
        """Return the smallest true difference that passes with 80 % power; None if none does."""
        from tunegate.harness.stats import power

        given = {"margin": self.margin, "confidence": self.confidence, "power": POWER}
        spread, deff = self.spread.value, self.spread.deff
        if self.spread.binary:
            plan = power.binary_detectable_effect(self.n, discordance=spread, deff=deff, **given)
        else:
            plan = power.mean_detectable_effect(self.n, deviation=spread, deff=deff, **given)
        largest = math.inf if self.limit is None else self.limit
        return plan.effect if plan.effect < math.inf and plan.effect <= largest else None

    def tolerable(self) -> float | None:
        """Return the smallest tolerance proven with 80 % power if nothing changed; None if none."""
        from tunegate.harness.stats import distributions

        if not self.spread.binary:
            level = PlannedComparison(self.n, 0.0, self.confidence, self.spread, self.limit)
            return level.detectable()

        def excess(tolerance: float) -> float:
            wider = PlannedComparison(self.n, -tolerance, self.confidence, self.spread)
            return wider.chance(0.0) - POWER

        # Without a discordant pair nothing below z²/(n + z²) is proven, whatever the power.
        z2 = distributions.normal_critical(self.confidence) ** 2
        least = z2 / (self.n / self.spread.deff + z2)
        if excess(least) >= 0:
            return least
        return distributions.find_root(excess, least, 1 - 1e-9) if excess(1 - 1e-9) > 0 else None


def cases_to_certify(rate: float, floor: float, confidence: float) -> int | None:
    """Return the cases whose successes certify a floor of the rate in 4 runs of 5."""
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
    """Return whether the successes of 4 runs in 5 certify the floor."""
    from scipy.stats import binom  # type: ignore[import-untyped]  # ships no types

    from tunegate.harness.stats.binary import clopper_pearson

    successes = n if rate >= 1 else int(binom.ppf(1 - POWER, n, rate))
    return clopper_pearson(successes, n, confidence=confidence).low >= floor


def cases_for_mean(
    independent: Sequence[float], n: int, *, effect: float, margin: float, confidence: float
) -> int | None:
    """Return the cases for a mean; None if more cases are no way out.

    Args:
        independent: The values of the cases, or of the clusters: these are counted, at their mean
            size.
        n: Cases behind them.
        effect: The true mean.
        margin: What it must be proven to exceed.
        confidence: Two-sided level of the interval that decides.
    """
    from tunegate.harness.stats import power

    sigma = sample_deviation(independent)
    # Without this, differences of a billionth would search through astronomic numbers.
    if not sigma > 0 or (effect - margin) / sigma < 2 / LIMIT**0.5:
        return None
    count = power.mean_sample_size(
        effect=effect, deviation=sigma, margin=margin, confidence=confidence, power=POWER
    ).n
    return within_limit(-(-count * n // len(independent)))


def within_limit(cases: int) -> int | None:
    """Return a required sample size; None where more cases are no way out."""
    return cases if cases <= LIMIT else None


def sample_deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of a sample of at least two values, however large they are."""
    import numpy as np

    scale = max(map(abs, values)) or 1.0
    return float(np.std(np.asarray(values) / scale, ddof=1)) * scale
