"""Estimators for metrics whose level is the mean of their scores.

0/1 scores get Tango's score interval, or the score interval of a ratio; all others get the t ∧ Hall
envelope with its guards. All three have cluster-robust forms.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tunegate.harness.comparison.estimator import (
    Estimator,
    ScoreSpread,
    exact_mean,
    few_without_range,
    interval_centre,
    is_binary,
    shift_interval,
    unit_values,
)
from tunegate.harness.comparison.sample_size import (
    cases_for_mean,
    cases_to_certify,
    sample_deviation,
    within_limit,
)
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.defaults import POWER
from tunegate.harness.stats.types import Interval, OneSidedTest


@dataclass(frozen=True)
class MeanEstimator(Estimator):
    """Scores whose mean is the level."""

    reach: tuple[float, float] | None = field(default=None, kw_only=True)
    """How far a case's oriented difference can be below 0, and above; None: the range."""

    @property
    def base_level(self) -> float:
        """Base's mean score; NaN if there are no pairs."""
        return exact_mean(self.base) if self.n else math.nan

    @property
    def tuned_level(self) -> float:
        """Tuned's mean score; NaN if there are no pairs."""
        return exact_mean(self.tuned) if self.n else math.nan

    @property
    def estimate(self) -> float:
        """The mean of the oriented differences."""
        return exact_mean(self.differences)

    @property
    def why_advisory(self) -> str:
        """Why a gate is advisory: few cases hide the rare losses of scores without a range."""
        if self.metric.bound is not None or self.in_logarithms:
            return ""
        # Times come in blocks because the machine drifts, not because there are few cases.
        timed = self.metric.needs is CellKind.LATENCY
        return few_without_range(self.n if timed else self.n_clusters or self.n)

    @property
    def skewed(self) -> bool:
        """Whether the differences are so skewed that the interval may err on one side."""
        from tunegate.harness.stats.paired_mean import skewness_warning

        return skewness_warning(self.differences)

    def spread(self, *, beyond_counts: bool = False) -> ScoreSpread | None:
        """Return σ of the differences, with the design effect of the clusters."""
        sigma = sample_deviation(self.differences)
        if not sigma > 0:
            return None
        independent = unit_values(self.differences, self._several_clusters)
        ratio = sample_deviation(independent) / sigma
        deff = max(1.0, ratio**2 * self.n / len(independent))
        return ScoreSpread(sigma, binary=False, deff=deff)

    @property
    def _several_clusters(self) -> tuple[str, ...] | None:
        """The clusters; None for a single one, which shows no design effect."""
        return self.clusters if (self.n_clusters or 0) > 1 else None

    def _interval(self, confidence: float) -> Interval:
        from tunegate.harness.stats.paired_mean import mean_interval

        return mean_interval(
            self.differences,
            confidence=confidence,
            bound=self.metric.bound,
            clusters=self.clusters,
            reach=self.reach,
        )

    def _test(self, margin: float) -> OneSidedTest:
        from tunegate.harness.stats.paired_mean import mean_test

        return mean_test(
            self.differences,
            margin=margin,
            bound=self.metric.bound,
            clusters=self.clusters,
            reach=self.reach,
        )

    def _level(self, confidence: float) -> Interval:
        # Tuned's scores may all be 0 or 1 although base's are not.
        if is_binary(self.metric, self.tuned):
            return rate_interval([round(v) for v in self.tuned], self.clusters, confidence)
        from tunegate.harness.stats.paired_mean import mean_interval

        middle, bound = interval_centre(self.metric)
        moved = mean_interval(
            [value - middle for value in self.tuned],
            confidence=confidence,
            bound=bound,
            clusters=self.clusters,
        )
        return shift_interval(moved, middle)

    def _plan(self, effect: float, margin: float, confidence: float, share: float) -> int | None:
        independent = unit_values(self.differences, self.clusters)
        cases = cases_for_mean(
            independent, self.n, effect=effect, margin=margin, confidence=confidence, share=share
        )
        if self.metric.bound is not None and len(set(independent)) == 1:
            cases = 1  # without spread, unseen losses decide alone
        lost = self.reach[0] if self.reach else self.metric.bound
        if cases is None or lost is None or not -lost < margin < lost:
            return cases
        from tunegate.harness.stats.paired_mean import unseen_loss_units

        most = min(effect, lost)
        units = unseen_loss_units(margin, bound=lost, effect=most, confidence=confidence)
        return within_limit(max(cases, self._in_clusters(units)))

    def _plan_level(self, bound: float, confidence: float, sign: float) -> int | None:
        if is_binary(self.metric, self.tuned):
            rate, floor = self.tuned_level, bound
            if sign < 0:  # a ceiling of successes is a floor of failures
                rate, floor = 1 - rate, 1 - floor
            cases = cases_to_certify(rate, floor, confidence)
            return cases and within_limit(self._in_clusters(cases))
        independent = unit_values(self.tuned, self.clusters)
        effect, margin = sign * self.tuned_level, sign * bound
        return cases_for_mean(
            independent, self.n, effect=effect, margin=margin, confidence=confidence
        )

    def _in_clusters(self, cases: int) -> int:
        """Return how many clustered cases a guard counts as this many independent ones."""
        if self.clusters is None:
            return cases
        from tunegate.harness.stats.unit_means import guarded_units

        units = guarded_units(Counter(self.clusters).values())
        return math.ceil(cases * self.n / units - 1e-9)


class BinaryEstimator(MeanEstimator):
    """Successes and failures of both arms.

    Margins of 1 and beyond, possible only if no range is declared, are tested and planned as means.
    """

    @property
    def why_advisory(self) -> str:
        """Why a gate is advisory: 0/1 scores of an undeclared metric where lower is better."""
        # A count of errors is 0 or 1 on most answers, and 20 on a rare one.
        certain = self.metric.binary or self.metric.higher_is_better
        return "" if certain else super().why_advisory

    @property
    def skewed(self) -> bool:
        """False: the score interval allows for skewness."""
        return False

    @property
    def least_margin(self) -> float:
        """The least margin that can be tested."""
        return -1 + 1e-9

    def exploratory_test(self) -> OneSidedTest:
        """Return McNemar's mid-p alone; with clusters, the gates' test."""
        from tunegate.harness.stats.binary import mcnemar_midp

        return super().exploratory_test() if self.clusters else mcnemar_midp(self.wins, self.losses)

    def spread(self, *, beyond_counts: bool = False) -> ScoreSpread | None:
        """Return the discordance, of at least one pair, with the design effect of the clusters."""
        if beyond_counts:
            return super().spread()
        from tunegate.harness.stats.clusters import design_effect

        signs, grouped = [round(d) for d in self.differences], self._several_clusters
        deff = design_effect(signs, grouped) if grouped else 1.0
        return ScoreSpread(max(self.wins + self.losses, 1) / self.n, binary=True, deff=deff)

    @property
    def _discordance(self) -> float:
        return max(self.wins + self.losses, 1) / self.n

    def _largest_spread(self) -> float:
        """Return the upper end of the 80 % interval of the discordance, relative to it.

        Source: Clopper and Pearson (1934).
        """
        from tunegate.harness.stats.binary import clopper_pearson

        interval = clopper_pearson(self.wins + self.losses, self.n, confidence=0.80)
        return max(1.0, interval.high / self._discordance)

    def _interval(self, confidence: float) -> Interval:
        from tunegate.harness.stats import binary

        if self.clusters is None:
            return binary.deciding_interval(self.wins, self.losses, self.n, confidence=confidence)
        from tunegate.harness.stats import clusters as clustered

        signs = [round(d) for d in self.differences]
        interval = clustered.clustered_binary_interval(signs, self.clusters, confidence=confidence)
        wins, losses, n = clustered.effective_counts(signs, self.clusters)
        low, high, alpha = interval.low, interval.high, (1 - confidence) / 2
        # As in the test, the exact companion joins from 0 on.
        if low > 0:
            low = min(low, max(0.0, binary.exact_lower(wins, losses, n, alpha)))
        if high < 0:
            high = max(high, min(0.0, -binary.exact_lower(losses, wins, n, alpha)))
        return replace(interval, low=low, high=high)

    def _test(self, margin: float) -> OneSidedTest:
        if abs(margin) >= 1:
            return super()._test(margin)
        if self.clusters is not None:
            from tunegate.harness.stats import clusters as clustered

            signs = [round(d) for d in self.differences]
            score = clustered.clustered_binary_test(signs, self.clusters, margin=margin)
            if margin < 0:  # the unseen cluster leaves enough room
                return score
            counts = clustered.effective_counts(signs, self.clusters)
            return _strictest(score, *_second_opinions(*counts, margin))
        from tunegate.harness.stats.binary import tango_test

        wins, losses = self.wins, self.losses
        return _strictest(
            tango_test(wins, losses, self.n, margin=margin),
            *_second_opinions(wins, losses, self.n, margin),
        )

    def _plan(self, effect: float, margin: float, confidence: float, share: float) -> int | None:
        if abs(margin) >= 1:
            return super()._plan(effect, margin, confidence, share)
        from tunegate.harness.stats import clusters, power

        deff = 1.0
        if self.clusters is not None:
            deff = clusters.design_effect([round(d) for d in self.differences], self.clusters)
        planned = power.binary_sample_size(
            effect=effect,
            discordance=min(max(self._discordance * share, abs(effect)), 1.0),
            margin=margin,
            confidence=confidence,
            power=POWER,
            deff=deff,
        )
        least = 1
        if margin < 0 and effect <= 0:
            least = self._in_clusters(power.smallest_provable_n(-margin, confidence=confidence))
        return within_limit(max(planned.n, least))


@dataclass(frozen=True, slots=True)
class RelativeLimit:
    """How far tuned's level may fall short of base's, as a ratio."""

    ratio: float
    """Tuned's level at the limit, over base's: below 1 where a higher score is better."""
    exchanged: bool = False
    """Whether the arms are exchanged."""

    def exchange(self) -> RelativeLimit:
        """Return the same limit for exchanged arms."""
        return replace(self, exchanged=not self.exchanged)


@dataclass(frozen=True)
class RelativeEstimator(BinaryEstimator):
    """Successes and failures whose ratio, tuned's to base's, is judged against a limit.

    The difference is the oriented distance from the limit, `tuned - ratio * base`. It is judged by
    the ratio, so the interval carries the uncertainty of base's level. Without a success of base
    the ratio is undefined, and only a plain gain shows that nothing was lost.
    """

    limit: RelativeLimit = field(kw_only=True)

    @property
    def estimate(self) -> float:
        """The oriented distance of the levels from the limit."""
        return self._sign * (exact_mean(self._other) - self.limit.ratio * self._reference_level)

    @property
    def least_margin(self) -> float:
        """The least distance that can be tested: ratios are above 0."""
        if self._sign < 0 or not self._reference_level:
            return super().least_margin
        return -self.limit.ratio * self._reference_level * (1 - 1e-9)

    @property
    def _reference(self) -> tuple[float, ...]:
        return self.tuned if self.limit.exchanged else self.base

    @property
    def _other(self) -> tuple[float, ...]:
        return self.base if self.limit.exchanged else self.tuned

    @property
    def _reference_level(self) -> float:
        return exact_mean(self._reference)

    @property
    def _sign(self) -> float:
        """1 if the other arm's level must be proven above the limit, -1 if below."""
        return -self.sign if self.limit.exchanged else self.sign

    def _interval(self, confidence: float) -> Interval:
        level, ratio = self._reference_level, self.limit.ratio
        if not level:
            return super()._interval(confidence)
        interval = self._ratio_interval(ratio, confidence)
        ends = [self._sign * (end - ratio) * level for end in (interval.low, interval.high)]
        return Interval(self.estimate, min(ends), max(ends), confidence, interval.method)

    def _plan(self, effect: float, margin: float, confidence: float, share: float) -> int | None:
        # Plan the difference that the limit allows at this run's base level.
        allowed = self._sign * (self.limit.ratio - 1) * self._reference_level
        plain = round(effect + allowed, 12)
        return super()._plan(plain, margin + allowed, confidence, share)

    def _ratio_interval(self, ratio: float, confidence: float) -> Interval:
        """Return the interval of the other arm's level divided by the reference's."""
        from tunegate.harness.stats import binary, clusters

        if self.clusters is not None:
            return clusters.clustered_ratio_interval(
                self._other, self._reference, self.clusters, ratio=ratio, confidence=confidence
            )
        more, fewer, shared = _ratio_counts(self._other, self._reference)
        return binary.deciding_ratio_interval(more, fewer, shared, confidence=confidence)

    def _test(self, margin: float) -> OneSidedTest:
        if not self._reference_level:
            return super()._test(margin)
        from tunegate.harness.stats import binary, clusters

        # "Below the limit" is "above its inverse" with the arms exchanged.
        upper, lower = self._other, self._reference
        ratio = self.limit.ratio + self._sign * margin / self._reference_level
        if ratio <= 0:
            raise ValueError(f"margin={margin} must leave a ratio above 0")
        if self._sign < 0:
            ratio, upper, lower = 1 / ratio, lower, upper
        if self.clusters is not None:
            return clusters.clustered_ratio_test(upper, lower, self.clusters, ratio=ratio)
        more, fewer, shared = _ratio_counts(upper, lower)
        return _strictest(
            binary.ratio_test(more, fewer, shared, ratio=ratio),
            binary.exact_at_estimate(
                more, fewer, more + fewer + shared, margin=ratio - 1, slope=ratio
            ),
        )


def _ratio_counts(upper: Sequence[float], lower: Sequence[float]) -> tuple[int, int, int]:
    """Return how many cases only the first arm gets right, only the second, and both."""
    more = sum(u > v for u, v in zip(upper, lower, strict=True))
    fewer = sum(u < v for u, v in zip(upper, lower, strict=True))
    return more, fewer, round(math.fsum(upper)) - more


def _second_opinions(wins: int, losses: int, n: int, margin: float) -> list[OneSidedTest]:
    """Return the tests that must agree with Tango's, whose size alone exceeds the nominal one."""
    from tunegate.harness.stats import binary

    estimated = binary.exact_at_estimate(wins, losses, n, margin=margin)
    return [binary.mcnemar_midp(wins, losses), estimated] if margin == 0 else [estimated]


def _strictest(*tests: OneSidedTest) -> OneSidedTest:
    return max(tests, key=lambda test: test.p_value)


def rate_interval(
    successes: Sequence[int], clusters: Sequence[str] | None, confidence: float
) -> Interval:
    """Return the interval of a success rate.

    Source: Clopper and Pearson (1934); with clusters, Gaffke's bound over the clusters.
    """
    from tunegate.harness.stats import binary
    from tunegate.harness.stats import clusters as clustered

    if clusters is None:
        return binary.clopper_pearson(sum(successes), len(successes), confidence=confidence)
    return clustered.clustered_rate_interval(successes, clusters, confidence=confidence)


def rate_p_value(successes: Sequence[int], clusters: Sequence[str] | None, rate: float) -> float:
    """Return the one-sided p-value of "the success rate is at most `rate`".

    Source: the inversion of the lower end of `rate_interval`.
    """
    import numpy as np

    from tunegate.harness.stats.clusters import clustered_rate_p_value
    from tunegate.harness.stats.distributions import binomial_tail

    if clusters is not None:
        return clustered_rate_p_value(successes, clusters, rate)
    count, n = np.array(sum(successes)), np.array(len(successes))
    return float(binomial_tail(count, n, np.array(rate)))
