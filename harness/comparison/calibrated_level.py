"""Calibrated level: a judge's scores, corrected by the labelled pairs of its calibration.

Source: inverse regression of the judge on people: Brown (1993), Measurement, Regression, and
Calibration, ch. 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from tunegate.harness.comparison.estimator import Estimator, ScoreSpread, exact_mean, shift_interval
from tunegate.harness.comparison.labelled_level import Column
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.stats.types import Interval, OneSidedTest

if TYPE_CHECKING:
    from tunegate.harness.stats.ppi import JudgeRegression


@dataclass(frozen=True, slots=True)
class CalibrationSample:
    """People's labels and the judge's scores on the pairs of a calibration."""

    base_labels: Column
    tuned_labels: Column
    base_scores: Column
    tuned_scores: Column
    clusters: tuple[str, ...] | None = None
    """Cluster of each pair; None if all are independent."""

    def exchanged(self) -> CalibrationSample:
        """Return the sample with the arms exchanged."""
        return replace(
            self,
            base_labels=self.tuned_labels,
            tuned_labels=self.base_labels,
            base_scores=self.tuned_scores,
            tuned_scores=self.base_scores,
        )

    def shifted(self, share: float) -> CalibrationSample:
        """Return the sample with a share of base's values added to tuned's."""
        return replace(
            self,
            tuned_labels=_add_share(self.tuned_labels, self.base_labels, share),
            tuned_scores=_add_share(self.tuned_scores, self.base_scores, share),
        )


@dataclass(frozen=True)
class CalibratedEstimator(Estimator):
    """A judge's scores, corrected by its calibration's estimate of its differences.

    The errors of the run and of the calibration are combined by recovering their variances (MOVER;
    Zou and Donner 2008, Statistics in Medicine 27:1693-1702), so the judge's scores keep the method
    of any other scores.
    """

    uncorrected: Estimator = field(kw_only=True, repr=False)
    """The judge's scores, uncorrected."""
    sample: CalibrationSample = field(kw_only=True, repr=False)

    @property
    def base_level(self) -> float:
        """Base's level minus the judge's mean error on base in the calibration."""
        sample = self.sample
        errors = [s - h for s, h in zip(sample.base_scores, sample.base_labels, strict=True)]
        return self.uncorrected.base_level - exact_mean(errors)

    @property
    def tuned_level(self) -> float:
        """Base's level plus the difference."""
        return self.base_level + self.sign * self.estimate

    @property
    def estimate(self) -> float:
        """The oriented difference that people would see, within the metric's range."""
        found = self._regression.seen_by_people(self.uncorrected.estimate)
        return max(-self._limit, min(self._limit, found))

    @property
    def why_advisory(self) -> str:
        """Why a gate on the judge's own scores would be advisory."""
        return self.uncorrected.why_advisory

    @property
    def skewed(self) -> bool:
        """Whether the judge's differences are so skewed that the interval may err on one side."""
        return self.uncorrected.skewed

    def spread(self, *, beyond_counts: bool = False) -> ScoreSpread | None:
        """Return how differently the judge scores the arms."""
        return self.uncorrected.spread(beyond_counts=beyond_counts)

    def _interval(self, confidence: float) -> Interval:
        judged, alpha = self.uncorrected.interval(confidence), (1 - confidence) / 2

        def excess(difference: float) -> float:
            """Return how far the judge's mean is above what the difference explains."""
            line = self._regression.reported(difference)
            own = judged.estimate - judged.low
            return judged.estimate - line.estimate - math.hypot(own, line.above(alpha))

        def shortfall(difference: float) -> float:
            line = self._regression.reported(difference)
            own = judged.high - judged.estimate
            return line.estimate - judged.estimate - math.hypot(own, line.below(alpha))

        middle, method = self.estimate, f"{judged.method}; {CALIBRATED_METHOD}"
        low = _crossing(excess, -self._limit, middle)
        high = _crossing(shortfall, self._limit, middle)
        if self.metric.bound is None:
            low = -math.inf if low == -self._limit else low
            high = math.inf if high == self._limit else high
        return Interval(middle, low, high, confidence, method)

    def _test(self, margin: float) -> OneSidedTest:
        from tunegate.harness.stats.distributions import normal_upper

        line = self._regression.reported(margin)
        judged = self.uncorrected.interval(CONFIDENCE)
        gap, method = judged.estimate - line.estimate, f"{judged.method}; {CALIBRATED_METHOD}"

        def spare(log_alpha: float) -> float:
            alpha = math.exp(log_alpha)
            own = judged.estimate - self.uncorrected.interval(1 - 2 * alpha).low
            return gap - math.hypot(own, line.above(alpha))

        p_value = math.exp(_crossing(spare, *_LOG_ALPHAS))
        if spare(_LOG_ALPHAS[0]) <= 0:
            return OneSidedTest(-math.inf, 1.0, margin, method)
        return OneSidedTest(normal_upper(p_value), p_value, margin, method)

    def _level(self, confidence: float) -> Interval:
        found = self.uncorrected.level(confidence)
        return shift_interval(found, self.tuned_level - found.estimate)

    def _plan(self, effect: float, margin: float, confidence: float, share: float) -> int | None:
        return None

    def _plan_level(self, bound: float, confidence: float, sign: float) -> int | None:
        return None

    @cached_property
    def _limit(self) -> float:
        """The largest difference considered: the range, or far beyond the data."""
        if self.metric.bound is not None:
            return self.metric.bound
        columns = (self.sample.base_scores, self.sample.tuned_scores, self.base, self.tuned)
        return 1e3 * max(abs(value) for column in columns for value in column) or 1.0

    @cached_property
    def _regression(self) -> JudgeRegression:
        from tunegate.harness.stats.ppi import JudgeRegression

        sample, sign = self.sample, self.sign
        human, judge = (
            [sign * (t - b) for b, t in zip(base, tuned, strict=True)]
            for base, tuned in (
                (sample.base_labels, sample.tuned_labels),
                (sample.base_scores, sample.tuned_scores),
            )
        )
        return JudgeRegression.of(human, judge, bound=self.metric.bound, clusters=sample.clusters)


CALIBRATED_METHOD = "inverse regression on the calibration's labels"
"""Name of the correction, for the report."""
_LOG_ALPHAS = (math.log(0.4999), math.log(1e-12))
"""Logarithms of the one-sided errors between which a p-value is searched."""


def _crossing(function: Callable[[float], float], outer: float, inner: float) -> float:
    """Return where a function that is positive at `outer` reaches 0; `outer` if it is not."""
    from tunegate.harness.stats.distributions import find_root

    if function(outer) <= 0 or outer == inner:
        return outer
    if function(inner) > 0:
        return inner
    return find_root(function, min(outer, inner), max(outer, inner))


def _add_share(tuned: Column, base: Column, share: float) -> tuple[float, ...]:
    return tuple(t + share * b for t, b in zip(tuned, base, strict=True))
