"""Labelled level: a judge's scores, corrected by people's labels on some of the run's own pairs.

Levels and difference are corrected at one weight, so that tuned's level less base's is the
difference shown. If people labelled every pair, or all but one, the judge is not needed:
`pairs.estimator_of` then estimates their labels like any scores.

Source: prediction-powered inference: Angelopoulos, Duchi and Zrnic (2023), PPI++, arXiv 2311.01453.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tunegate.harness.comparison.estimator import (
    Estimator,
    ScoreSpread,
    interval_centre,
    shift_interval,
)
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.stats.types import Interval, OneSidedTest

if TYPE_CHECKING:
    pass


Labels = tuple[tuple[float, float] | None, ...]
"""Human labels of each pair's two answers, base's first; None for an unlabelled pair."""
Column = Sequence[float]


@dataclass(frozen=True, slots=True)
class LabelledColumns:
    """People's and the judge's values on the labelled pairs, and the judge's on the rest."""

    human: Column
    judge: Column
    rest: Column


@dataclass(frozen=True)
class LabelledEstimator(Estimator):
    """A judge's scores, at least two of them labelled and at least two not."""

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
        """Return None: the spread of the judge's scores is not that of the corrected ones."""
        return None

    def _interval(self, confidence: float) -> Interval:
        from tunegate.harness.stats.ppi import ppi_interval

        scores = self._differences
        return ppi_interval(
            scores.human, scores.judge, scores.rest, confidence=confidence, bound=self.metric.bound
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
        interval = ppi_interval(
            *moved,
            confidence=confidence,
            bound=bound,
            weight=self._weight,
            largest_error=self.metric.bound,
        )
        return shift_interval(interval, middle)

    def _plan(self, effect: float, margin: float, confidence: float, share: float) -> int | None:
        return None  # more labels narrow the interval, not more cases

    def _plan_level(self, bound: float, confidence: float, sign: float) -> int | None:
        return None

    def _corrected(self, side: LabelledColumns) -> float:
        from tunegate.harness.stats.ppi import corrected_mean

        return corrected_mean(side.human, side.judge, side.rest, weight=self._weight)

    @cached_property
    def _weight(self) -> float:
        """Weight of the judge's scores, the same for the difference and the levels."""
        from tunegate.harness.stats.ppi import ppi_weight

        scores = self._differences
        return ppi_weight(scores.human, scores.judge, scores.rest)

    @cached_property
    def _differences(self) -> LabelledColumns:
        human = [None if pair is None else self.sign * (pair[1] - pair[0]) for pair in self.labels]
        return _split(human, self.differences)

    def _side(self, *, tuned: bool) -> LabelledColumns:
        human = [None if pair is None else pair[int(tuned)] for pair in self.labels]
        return _split(human, self.tuned if tuned else self.base)


def n_labelled(labels: Labels | None) -> int:
    """Return how many pairs have labels on both answers."""
    return sum(pair is not None for pair in labels or ())


def _split(human: Sequence[float | None], judge: Sequence[float]) -> LabelledColumns:
    both = [(h, j) for h, j in zip(human, judge, strict=True) if h is not None]
    rest = [j for h, j in zip(human, judge, strict=True) if h is None]
    return LabelledColumns([h for h, _ in both], [j for _, j in both], rest)
