"""Labelled level: a judge's scores, corrected by people's labels.

- Labels on some of the run's own pairs: prediction-powered inference (PPI++). Levels and difference
  are corrected at one weight, so that tuned's level less base's is the difference shown. Where
  people labelled every pair, or all but one, the judge is not needed: `pairs.estimator_of` then
  estimates their labels like any scores.
- The labelled pairs of the judge's calibration: inverse regression of the judge on people.

Source: Angelopoulos, Duchi and Zrnic (2023), PPI++, arXiv 2311.01453; Brown (1993), Measurement,
Regression, and Calibration, ch. 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from tunegate.harness.comparison.estimator import (
    Estimator,
    exact_mean,
    interval_centre,
    shift_interval,
)
from tunegate.harness.comparison.sample_size import ScoreSpread
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.stats.types import Interval, OneSidedTest

if TYPE_CHECKING:
    from tunegate.harness.stats.ppi import JudgeRegression

Labels = tuple[tuple[float, float] | None, ...]
"""Human labels of each pair's two answers, base's first; None where there are none."""
Column = Sequence[float]


@dataclass(frozen=True, slots=True)
class LabelledColumns:
    """Values by people and by the judge on the labelled pairs, and by the judge on the others."""

    human: Column
    judge: Column
    rest: Column


@dataclass(frozen=True)
class LabelledEstimator(Estimator):
    """A judge's scores corrected by the labels of at least two pairs; two others have none."""

    labels: Labels = field(kw_only=True, repr=False)

    @property
    def base_level(self) -> float:
        """Base's level as people would see it."""
        return self._corrected(self._side(tuned=False))

    @property
    def tuned_level(self) -> float:
        """Tuned's level as people would see it."""
        return self._corrected(self._side(tuned=True))

    @property
    def estimate(self) -> float:
        """The oriented difference that people would see."""
        return self._interval(CONFIDENCE).estimate

    def spread(self, *, beyond_counts: bool = False) -> ScoreSpread | None:
        """Return None: the spread of a judge's scores is not that of the corrected ones."""
        return None

    def _interval(self, confidence: float) -> Interval:
        from tunegate.harness.stats.ppi import ppi_interval

        found = self._differences
        return ppi_interval(
            found.human, found.judge, found.rest, confidence=confidence, bound=self.metric.bound
        )

    def _test(self, margin: float) -> OneSidedTest:
        from tunegate.harness.stats.ppi import ppi_test

        found, bound = self._differences, self.metric.bound
        return ppi_test(found.human, found.judge, found.rest, margin=margin, bound=bound)

    def _level(self, confidence: float) -> Interval:
        from tunegate.harness.stats.ppi import ppi_interval

        middle, bound = interval_centre(self.metric)
        side = self._side(tuned=True)
        moved = [[value - middle for value in c] for c in (side.human, side.judge, side.rest)]
        found = ppi_interval(
            *moved,
            confidence=confidence,
            bound=bound,
            weight=self._weight,
            largest_error=self.metric.bound,
        )
        return shift_interval(found, middle)

    def _plan(self, effect: float, margin: float, confidence: float, share: float) -> int | None:
        return None  # more labels narrow the interval, not more cases

    def _plan_level(self, bound: float, confidence: float, sign: float) -> int | None:
        return None

    def _corrected(self, side: LabelledColumns) -> float:
        from tunegate.harness.stats.ppi import corrected_mean

        return corrected_mean(side.human, side.judge, side.rest, weight=self._weight)

    @cached_property
    def _weight(self) -> float:
        """The share of trust in the judge: that of the difference, for the levels too."""
        from tunegate.harness.stats.ppi import ppi_weight

        found = self._differences
        return ppi_weight(found.human, found.judge, found.rest)

    @cached_property
    def _differences(self) -> LabelledColumns:
        human = [None if pair is None else self.sign * (pair[1] - pair[0]) for pair in self.labels]
        return _split(human, self.differences)

    def _side(self, *, tuned: bool) -> LabelledColumns:
        human = [None if pair is None else pair[int(tuned)] for pair in self.labels]
        return _split(human, self.tuned if tuned else self.base)


@dataclass(frozen=True, slots=True)
class CalibrationSample:
    """Human labels and judgements of both arms' answers on the pairs of a calibration."""

    base_labels: Column
    tuned_labels: Column
    base_scores: Column
    tuned_scores: Column
    clusters: tuple[str, ...] | None = None
    """Cluster of each pair; None where all are independent."""

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

    The run's own error and that of the calibration are joined by recovering their variances
    (MOVER; Zou and Donner 2008, Statistics in Medicine 27:1693-1702), so that the judge's
    scores keep the method of any other scores: Tango's, t and Hall, or one for clusters.
    """

    uncorrected: Estimator = field(kw_only=True, repr=False)
    """The judge's scores taken at their word."""
    sample: CalibrationSample = field(kw_only=True, repr=False)

    @property
    def base_level(self) -> float:
        """Base's level, less the judge's mean error on base in the calibration."""
        sample = self.sample
        errors = [s - h for s, h in zip(sample.base_scores, sample.base_labels, strict=True)]
        return self.uncorrected.base_level - exact_mean(errors)

    @property
    def tuned_level(self) -> float:
        """Base's level and the difference."""
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
            """Return by how much the judge's mean is above what the difference explains."""
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
        """The largest difference that is looked at: that of the range, or far beyond the data."""
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
"""Logarithms of the one-sided errors between which a p-value is looked for."""


def _crossing(function: Callable[[float], float], outer: float, inner: float) -> float:
    """Return where a function that is positive at `outer` turns; `outer` where it is not."""
    from tunegate.harness.stats.distributions import find_root

    if function(outer) <= 0 or outer == inner:
        return outer
    if function(inner) > 0:
        return inner
    return find_root(function, min(outer, inner), max(outer, inner))


def _add_share(tuned: Column, base: Column, share: float) -> tuple[float, ...]:
    return tuple(t + share * b for t, b in zip(tuned, base, strict=True))


def n_labelled(labels: Labels | None) -> int:
    """Return on how many pairs people labelled both answers."""
    return sum(pair is not None for pair in labels or ())


def _split(human: Sequence[float | None], judge: Sequence[float]) -> LabelledColumns:
    both = [(h, j) for h, j in zip(human, judge, strict=True) if h is not None]
    rest = [j for h, j in zip(human, judge, strict=True) if h is None]
    return LabelledColumns([h for h, _ in both], [j for _, j in both], rest)
