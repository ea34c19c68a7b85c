"""A planned comparison: its power, and the cases it takes, before anything is scored.

Besides the number of cases, one number decides: the discordance ψ (the share of cases that only one
arm gets right) for 0/1 scores, the standard deviation σ of the paired differences for others.

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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunegate.harness.comparison.estimator import ScoreSpread
from tunegate.harness.comparison.interim_look import FROM_SHARE, FUTILE, look_bounds
from tunegate.harness.comparison.sample_size import LIMIT, within_limit
from tunegate.harness.records.defaults import CONFIDENCE, POWER

if TYPE_CHECKING:
    from tunegate.harness.stats.power import ProofBoundary
    from tunegate.harness.stats.validation import Floats

Proves = Callable[[Sequence[float], Sequence[float], float], bool]
"""(base's scores, tuned's, two-sided confidence) → whether a gate's own test passes."""


class GateTest:
    """A gate's own test on imagined samples, to compute its power.

    0/1 samples are enumerated by wins and losses. Other samples have the expected shape; the
    smallest mean that is proven gives the power.
    """

    def __init__(
        self,
        proves: Proves,
        *,
        higher_is_better: bool = True,
        base_level: float = 0.5,
        shape: Sequence[float] = (),
        margin: float | None = None,
    ) -> None:
        """Keep the test.

        Args:
            proves: The test.
            higher_is_better: The direction of its scores.
            base_level: Mean of base's scores on 0/1 cases.
            shape: Differences of an earlier run, for their distribution; normal if empty.
            margin: The margin on the test's scale, if that is not the comparison's.
        """
        self.margin = margin
        self._proves = proves
        self._sign = 1.0 if higher_is_better else -1.0
        self._base_level = base_level
        self._shape = sorted(shape)
        self._boundaries: dict[tuple[int, float], ProofBoundary] = {}

    def flips_power(self, n: int, effect: float, discordance: float, confidence: float) -> float:
        """Return the probability of a proof on `n` 0/1 cases."""
        from tunegate.harness.stats.power import ProofBoundary

        key = n, confidence
        if key not in self._boundaries:
            self._boundaries[key] = ProofBoundary(
                n, lambda wins, losses: self._proves_flips(wins, losses, n, confidence)
            )
        return self._boundaries[key].power(effect, discordance)

    def _proves_flips(self, wins: int, losses: int, n: int, confidence: float) -> bool:
        # A margin relative to base depends on how many equal scores are 1: as base's level implies.
        better, worse = (1.0, 0.0) if self._sign > 0 else (0.0, 1.0)
        rest = n - wins - losses
        ones = round(self._base_level * n) - (losses if self._sign > 0 else wins)
        ones = min(max(ones, 0), rest)
        same = [1.0] * ones + [0.0] * (rest - ones)
        base = [worse] * wins + [better] * losses + same
        tuned = [better] * wins + [worse] * losses + same
        return self._proves(base, tuned, confidence)

    def smallest_mean(
        self, n: int, deviation: float, confidence: float, *, low: float, limit: float
    ) -> float:
        """Return the smallest mean of `n` differences that is proven; `inf` if no mean is.

        Args:
            n: Differences, at least 2.
            deviation: Their standard deviation.
            confidence: Two-sided level.
            low: A mean that is not proven: the margin.
            limit: Largest possible difference; `inf` if unbounded.
        """
        shape = self._standard_sample(n) * deviation

        def proves(mean: float) -> bool:
            differences = (shape + mean).clip(-limit, limit)
            return self._proves(
                [_BASE] * n, (_BASE + self._sign * differences).tolist(), confidence
            )

        # More than ten standard errors are needed only if little data widens the interval.
        step, high = 2 * deviation / math.sqrt(n), low
        while not proves(high):
            if high - low > 64 * deviation or high >= limit:
                return math.inf
            low, high, step = high, min(high + step, limit), 2 * step
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if proves(middle) else (middle, high)
        return high

    def _standard_sample(self, n: int) -> Floats:
        """Return `n` evenly spaced quantiles of the shape, with mean 0 and deviation 1.

        If those of the earlier run are all equal, since too few of its differences are not, they
        are normal ones.
        """
        import numpy as np

        from tunegate.harness.stats.distributions import normal_quantiles

        places = (np.arange(n) + 0.5) / n
        quantiles = np.quantile(np.asarray(self._shape or (0.0,)), places)
        if np.ptp(quantiles) <= 1e-12 * max(1.0, float(np.abs(quantiles).max())):
            quantiles = normal_quantiles(places)
        centred = quantiles - quantiles.mean()
        return np.asarray(centred / centred.std(ddof=1))


_BASE = 0.25
"""Base's score in a sample; 0 or 1 would be taken for 0/1 scores."""
_BISECTIONS = 12


@dataclass(frozen=True, slots=True)
class PlannedComparison:
    """A planned comparison of n pairs against a margin; differences are improvements.

    Up to 2,000 cases the power is that of the gate's own test, at the level of the last look;
    beyond, and without a test, it comes from the formulas in `tunegate.harness.stats.power`.
    """

    n: int
    """Paired cases, at least 2."""
    margin: float
    """Margin that the difference must be proven to exceed: a gain, or minus a tolerance."""
    confidence: float
    """Two-sided level of the interval that decides."""
    spread: ScoreSpread
    limit: float | None = 1.0
    """Largest possible difference; None if unbounded."""
    test: GateTest | None = None
    """The gate's own test; None plans by formula."""
    looks: Callable[[int], Sequence[float]] | None = None
    """Cases → share of them seen at each look; None without interim looks."""
    target: float | None = None
    """True difference that must stay within reach at a look, or the comparison is given up: NaN
    for the smallest that all cases prove; None if it is never given up."""

    def chance(self, effect: float) -> float:
        """Return the probability of a pass if the true difference is `effect`."""
        return self.power(self.n, effect)

    def power(self, n: int, effect: float) -> float:
        """Return the power with `n` cases."""
        shares = tuple(self.looks(n)) if self.looks else ()
        if len(shares) < 2:
            return self._once(n, effect, self.confidence)
        from tunegate.harness.stats import distributions, group_sequential

        bounds = look_bounds(shares, (1 - self.confidence) / 2)
        last = group_sequential.repeated_confidence(bounds[-1])
        once = min(max(self._once(n, effect, last), 1e-9), 1 - 1e-9)
        # The drift at which the last look has the power of its own rule.
        drift = bounds[-1] - distributions.normal_upper(once)
        floors = None
        if self.target is not None:
            floors = self._floors(n, shares, bounds[-1], self.target)
        return group_sequential.crossing_probability(shares, bounds, drift=drift, floors=floors)

    def _once(self, n: int, effect: float, confidence: float) -> float:
        """Return the probability of a pass at a single look."""
        from tunegate.harness.stats import power

        units = max(2, round(n / self.spread.deff))
        if self.test is None or units > power.EXACT_LIMIT:
            return self._by_formula(n, effect, confidence)
        if self.spread.binary:
            return self.test.flips_power(units, effect, self.spread.value, confidence)
        margin = self.margin if self.test.margin is None else self.test.margin
        limit = math.inf if self.limit is None else self.limit
        error, deviation = power.sample_error(units), self.spread.value
        lower, upper = (
            self.test.smallest_mean(units, deviation * share, confidence, low=margin, limit=limit)
            for share in (1 - error, 1 + error)
        )
        return power.mean_rule_power(
            units,
            effect=effect - self.margin + margin,
            deviation=deviation,
            criticals=(lower, upper),
        )

    def _by_formula(self, n: int, effect: float, confidence: float) -> float:
        from tunegate.harness.stats import power

        terms = {"effect": effect, "margin": self.margin, "confidence": confidence}
        spread, deff = self.spread.value, self.spread.deff
        if self.spread.binary:
            return power.binary_power(n, discordance=spread, deff=deff, **terms).power
        return power.mean_power(n, deviation=spread, deff=deff, **terms).power

    def _floors(self, n: int, shares: Sequence[float], bound: float, target: float) -> list[float]:
        """Return z of each look below which the comparison is given up.

        Source: conditional power below `FUTILE` at the target, from `FROM_SHARE` of the cases on
        (`tunegate.harness.decision.verdict.interim_analysis`).
        """
        from tunegate.harness.stats.distributions import normal_upper

        drift = bound + normal_upper(1 - POWER)
        if not math.isnan(target):
            root = math.sqrt(n / self.spread.deff)
            drift = (target - self.margin) * root / self._deviation(target)
        far = normal_upper(FUTILE)
        return [
            (bound - far * math.sqrt(1 - t) - drift * (1 - t)) / math.sqrt(t)
            if FROM_SHARE <= t < 1
            else -math.inf
            for t in shares
        ]

    def _deviation(self, effect: float) -> float:
        if not self.spread.binary:
            return self.spread.value
        return math.sqrt(max(max(self.spread.value, abs(effect)) - effect**2, 1e-12))

    def cases(self, effect: float, wanted: float) -> int | None:
        """Return the fewest cases for a power of `wanted`; None beyond `LIMIT`."""
        fewest = self._cases_by_formula(effect, wanted)
        if fewest is None or (self.test is None and self.looks is None):
            return fewest
        return fewest_cases(lambda n: 1 - self.power(n, effect), 1 - wanted, fewest)

    def _cases_by_formula(self, effect: float, wanted: float) -> int | None:
        from tunegate.harness.stats import power

        size, spread = effect - self.margin, self.spread
        if not size > 0 or (not spread.binary and size / spread.value < 2 / LIMIT**0.5):
            return None
        terms = {"effect": effect, "margin": self.margin, "confidence": self.confidence}
        terms |= {"power": wanted, "deff": spread.deff}
        if spread.binary:
            n = power.binary_sample_size(discordance=spread.value, **terms).n
            if self.margin < 0 and effect <= 0:
                least = power.smallest_provable_n(-self.margin, confidence=self.confidence)
                n = max(n, math.ceil(least * spread.deff))
        else:
            n = power.mean_sample_size(deviation=spread.value, **terms).n
        return within_limit(n)

    def detectable(self) -> float | None:
        """Return the smallest true difference that passes with 80 % power; None if nothing does."""
        largest = math.inf if self.limit is None else self.limit
        effect = self._detectable_by_formula()
        if self.test is None or effect is None:
            return effect if effect is not None and effect <= largest else None
        low, high = self.margin, min(effect + (effect - self.margin), largest)
        while self.chance(high) < POWER:
            if high >= largest or high - self.margin > 64 * (effect - self.margin):
                return None
            low, high = high, min(high + 2 * (high - self.margin), largest)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.chance(middle) >= POWER else (middle, high)
        return high

    def _detectable_by_formula(self) -> float | None:
        from tunegate.harness.stats import power

        terms = {"margin": self.margin, "confidence": self.confidence, "power": POWER}
        spread, deff = self.spread.value, self.spread.deff
        if self.spread.binary:
            plan = power.binary_detectable_effect(self.n, discordance=spread, deff=deff, **terms)
        else:
            plan = power.mean_detectable_effect(self.n, deviation=spread, deff=deff, **terms)
        return plan.effect if plan.effect < math.inf else None

    def tolerable(self) -> float | None:
        """Return the least tolerance proven with 80 % power if nothing changed, or None."""
        # By formula, since a gate's own test knows only its own tolerance.
        from tunegate.harness.stats import distributions

        if not self.spread.binary:
            return replace(self, margin=0.0, test=None, looks=None).detectable()

        def excess(tolerance: float) -> float:
            wider = PlannedComparison(self.n, -tolerance, self.confidence, self.spread)
            return wider.chance(0.0) - POWER

        # Even without a discordant pair nothing smaller is proven: `power.smallest_provable_n`.
        z2 = distributions.normal_critical(self.confidence) ** 2
        size = max(1.0, self.n / self.spread.deff)
        unseen = math.exp(math.log((1 - self.confidence) / 2) / size)
        least = max(z2 / (size + z2), 1 - unseen)
        if excess(least) >= 0:
            return least
        return distributions.find_root(excess, least, 1 - 1e-9) if excess(1 - 1e-9) > 0 else None


_STEADY = 150
"""Cases from which on power grows steadily; with fewer it goes up and down."""
_NEAR = 0.003


def fewest_cases(error: Callable[[int], float], wanted: float, start: int) -> int | None:
    """Return the fewest cases whose error is at most `wanted`; None beyond `LIMIT`.

    From `_STEADY` cases on, the error is met within a third of a point.

    Args:
        error: Cases → chance that a needed gate does not pass; by and large it falls.
        wanted: Largest error.
        start: A first guess.
    """
    low, high, n = 1, LIMIT + 1, max(2, start)
    while high - low > max(1, high // 100):
        reached = error(n)
        if n >= _STEADY and abs(reached - wanted) <= _NEAR:
            return n
        # A step past the guess closes the bracket from the other side.
        step = max(1, n // 200)
        if reached <= wanted:
            high, n = n, min(_scaled_cases(n, reached, wanted), n) - step
        else:
            low, n = n, max(_scaled_cases(n, reached, wanted), n) + step
        if not low < n < high:
            n = LIMIT if high > LIMIT else (low + high) // 2
    return high if high <= LIMIT else None


def _scaled_cases(n: int, error: float, wanted: float) -> int:
    """Return the cases for another error, whose quantile grows with the root of the cases."""
    from tunegate.harness.stats.distributions import normal_critical, normal_upper

    critical = normal_critical(CONFIDENCE)
    now = normal_upper(min(max(error, 1e-6), 0.9)) + critical
    return min(LIMIT, math.ceil(n * ((normal_upper(wanted) + critical) / now) ** 2))
