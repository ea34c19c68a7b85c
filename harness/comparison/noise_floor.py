"""The noise floor: base compared with itself, asked again (an A/A comparison)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tunegate.harness.comparison.estimator import exact_mean
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.stats.types import Interval

_ENOUGH_AGAIN = 0.4
"""Share of a claim's cases, asked again, from which on their difference is subtracted. A run asks
half of them; at an interim look it may be a little less."""

_LIKELY = 0.2
"""One-sided p-value from which on base's second answers may score better than its first."""


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """How far base's scores of one metric differ from its own, asked again (an A/A comparison)."""

    pairs: Pairs
    """Base, and base asked again in tuned's place."""

    @property
    def metric(self) -> MetricRecord:
        """The metric."""
        return self.pairs.metric

    @property
    def flips(self) -> int | None:
        """Cases whose score changed; None unless scores are 0 or 1."""
        binary = self.metric.binary and self.pairs.binary
        return self.pairs.wins + self.pairs.losses if binary else None

    @property
    def size(self) -> float | None:
        """Mean |difference|, the share of flips for 0/1 scores; None without scores."""
        differences = self.pairs.differences
        return exact_mean([abs(d) for d in differences]) if differences else None

    def exchanged(self) -> NoiseFloor:
        """Return the same with the two passes exchanged."""
        return NoiseFloor(self.pairs.exchanged())

    @property
    def favors_second(self) -> bool:
        """Whether base may score better when asked again: chance does so in less than 1 of 5 runs.

        Only then is it subtracted before a tolerance passes. If 2 points are gained by arithmetic
        alone, a tolerance of exactly the true loss passes in .05 of runs with 400 cases and in .07
        with 100; without subtraction in .46 and .16. To subtract it always errs as often, and costs
        .2 of the power where 1 % of 100 cases flip both ways.
        """
        return self.pairs.test(0.0).p_value <= _LIKELY

    def interval(self, confidence: float, *, largest: float = math.inf) -> Interval:
        """Return the interval of the oriented signed difference, again − first.

        Args:
            confidence: Two-sided level.
            largest: Largest difference of one case, if the metric has no range.

        Source: as for any pairs; if an unbounded score never differed, a share of 1 - α^(1/n) of
        the cases may still differ by `largest` (Clopper and Pearson 1934, k = 0).
        """
        interval = self.pairs.interval(confidence)
        if self.pairs.too_few or not math.isinf(interval.high - interval.low):
            return interval
        unseen = largest * (1 - ((1 - confidence) / 2) ** (1 / self.pairs.n))
        return replace(interval, low=interval.estimate - unseen, high=interval.estimate + unseen)

    def clears(self, pairs: Pairs, margin: float, confidence: float) -> bool:
        """Return whether a difference exceeds `margin` by more than inexact arithmetic may add.

        The A/A difference is subtracted, with its uncertainty. If fewer than half of the cases were
        asked again, that uncertainty would drown every claim; arithmetic is then assumed to move
        scores both ways alike, which the paired interval allows for, unless the cases asked again
        refute it.

        Args:
            pairs: The arms' scores, oriented as those of the noise floor.
            margin: What the difference must exceed.
            confidence: Two-sided level.

        Source: MOVER with correlated estimates (Zou 2008, American Journal of Epidemiology
        168:212-224); base's first answers are in both.
        """
        claimed = pairs.interval(confidence)
        largest = max(map(abs, pairs.differences), default=math.inf)
        noise = self.interval(confidence, largest=largest)
        if self.pairs.n < pairs.n * _ENOUGH_AGAIN and noise.low <= 0 <= noise.high:
            return claimed.low > margin
        if not (claimed.low > margin and noise.high < math.inf):
            return False
        below, above = claimed.estimate - claimed.low, noise.high - noise.estimate
        shared = 2 * self._correlation(pairs) * below * above
        # Rounding may take an exact correlation of 1 below 0.
        width = math.sqrt(max(below**2 + above**2 - shared, 0.0))
        return claimed.estimate - noise.estimate - width > margin

    def _correlation(self, pairs: Pairs) -> float:
        """Return the correlation of the two mean differences; 0 if the cases are unknown."""
        differences = dict(zip(pairs.cases, pairs.differences, strict=False))
        columns = [
            (differences[case], again)
            for case, again in zip(self.pairs.cases, self.pairs.differences, strict=False)
            if case in differences
        ]
        if len(columns) < 2:
            return 0.0
        means = [exact_mean(column) for column in zip(*columns, strict=True)]
        moved = [(claim - means[0], again - means[1]) for claim, again in columns]
        spread = math.fsum(c * c for c, _ in moved) * math.fsum(a * a for _, a in moved)
        if not spread > 0:
            return 0.0
        single = math.fsum(c * a for c, a in moved) / math.sqrt(spread)
        return single * math.sqrt(len(columns) / pairs.n) * math.sqrt(len(columns) / self.pairs.n)
