"""Pairs: the paired scores of one metric on one suite, and the estimator they call for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

from tunegate.harness.comparison.calibrated_level import CalibratedEstimator, CalibrationSample
from tunegate.harness.comparison.corpus_level import CorpusEstimator, PairedCounts
from tunegate.harness.comparison.estimator import Estimator, PairedScores, exact_mean, is_binary
from tunegate.harness.comparison.labelled_level import LabelledEstimator, Labels, n_labelled
from tunegate.harness.comparison.mean_level import (
    BinaryEstimator,
    MeanEstimator,
    RelativeEstimator,
    RelativeLimit,
)
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.stats.types import Interval, OneSidedTest

PairFill = Callable[[float | None, float | None], tuple[float, float]]
"""(base's score, tuned's), either None if missing → both scores."""


@dataclass(frozen=True)
class Pairs(PairedScores):
    """Complete pairs of one metric on one suite, with counts of the missing scores."""

    n_unscored: Mapping[str, int] = field(default_factory=dict)
    """Arm → cases without a score."""
    chance: float | None = None
    """Accuracy of guessing, for multiple choice."""
    corpus: PairedCounts | None = field(default=None, repr=False)
    """The counts behind a corpus metric's scores."""
    cases: tuple[str, ...] = field(default=(), repr=False)
    """Id of each pair's case, if known."""
    limit: RelativeLimit | None = None
    """The limit on the ratio of the levels, for 0/1 scores; None compares the scores themselves."""
    reach: tuple[float, float] | None = None
    """How far a case's oriented difference can be below 0, and above; None: the range."""
    labels: Labels | None = field(default=None, repr=False)
    """Human labels of each pair's two answers, which correct a judge's scores."""
    calibration: CalibrationSample | None = field(default=None, repr=False)
    """The labelled pairs of its calibration, which correct a judge's scores instead."""
    arm: str = "tuned"
    """Name of the arm in tuned's place."""

    @cached_property
    def estimator(self) -> Estimator:
        """The method that infers difference and level."""
        return estimator_of(self)

    @property
    def base_level(self) -> float:
        """Base's mean score, corrected or over the corpus; NaN without pairs."""
        return self.estimator.base_level

    @property
    def tuned_level(self) -> float:
        """Tuned's level, likewise."""
        return self.estimator.tuned_level

    @property
    def estimate(self) -> float:
        """The oriented difference of the levels, of at least one pair."""
        return self.estimator.estimate

    @property
    def advisory(self) -> bool:
        """Whether there are too few cases for a gate to count."""
        return self.estimator.advisory

    @property
    def too_few_for_corpus(self) -> bool:
        """Whether there are too few cases for a corpus value."""
        return self.corpus is not None and self.advisory

    @property
    def why_advisory(self) -> str:
        """Why a gate on them cannot count; "" if it can."""
        return self.estimator.why_advisory

    def before_scores(self) -> Pairs:
        """Return the pairs as they were before a score was known.

        A metric that declares no range may turn out to score 0 and 1 only.
        """
        value = 1.0 if self.metric.needs is CellKind.GENERATE else 2.0
        return replace(self, base=(value,) * self.n, tuned=(value,) * self.n)

    @cached_property
    def binary(self) -> bool:
        """Whether all scores are 0 or 1, and the metric's range allows no others."""
        return self.labels is None and is_binary(self.metric, (*self.base, *self.tuned))

    @cached_property
    def whole_votes(self) -> bool:
        """Whether each case has one vote, or equal ones: a win, a loss or a tie."""
        return self.metric.votes and {abs(d) for d in self.differences} <= {0.0, 1.0}

    def interval(self, confidence: float) -> Interval:
        """Return the oriented difference's interval; ±range if there is too little data."""
        return self.estimator.interval(confidence)

    def test(self, margin: float) -> OneSidedTest:
        """Return the one-sided test of "the oriented difference is at most `margin`"."""
        return self.estimator.test(margin)

    def reversed_test(self) -> OneSidedTest:
        """Return the one-sided test of "tuned is not worse than base at all"."""
        return self.exchanged().test(0.0)

    def two_sided_p(self) -> float | None:
        """Return the p-value of "no difference"; None if the data are too few.

        It is exploratory: 0/1 scores get McNemar's mid-p alone, all others twice the smaller of
        both directions. Gates use `test`, which is stricter.
        """
        if self.too_few:
            return None
        tests = (side.estimator.exploratory_test() for side in (self, self.exchanged()))
        return min(1.0, 2 * min(test.p_value for test in tests))

    def exchanged(self) -> Pairs:
        """Return the pairs with the arms exchanged, to prove a loss of tuned."""
        corpus = self.corpus and self.corpus.exchanged()
        labels = self.labels and tuple(pair and (pair[1], pair[0]) for pair in self.labels)
        limit = self.limit and self.limit.exchange()
        calibration = self.calibration and self.calibration.exchanged()
        return replace(
            self,
            base=self.tuned,
            tuned=self.base,
            corpus=corpus,
            labels=labels,
            calibration=calibration,
            limit=limit,
            reach=self.reach and self.reach[::-1],
        )

    def unchanged(self) -> Pairs:
        """Return the pairs as if tuned scored exactly like base."""
        corpus = self.corpus and replace(self.corpus, tuned=self.corpus.base)
        return replace(self, tuned=self.base, corpus=corpus, labels=None)

    def relative(self, share: float) -> Pairs:
        """Return pairs whose difference is the distance from a loss of `share` of base's level.

        The estimate is d̄ + share·|base's level|, so non-inferiority within the share is a
        difference above 0. Unlike a margin fixed at the observed base, it carries base's own
        uncertainty. For 0/1 scores the ratio of the levels is judged (`RelativeEstimator`), for
        times the geometric mean of tuned/base (`_slower_by`).
        """
        if not self.n:
            return self
        if self.metric.needs is CellKind.LATENCY and min(*self.base, *self.tuned) > 0:
            return self._slower_by(share)
        alone = None if self.labels is None else _labelled_alone(self, self.labels)
        if alone is not None:
            return alone.relative(share)
        ratio = 1 - share if self.metric.higher_is_better else 1 + share
        if self.binary and self.corpus is None and self.calibration is None and ratio > 0:
            return replace(self, limit=RelativeLimit(ratio))
        slack = math.copysign(share, self.base_level)
        sign = 1.0 if self.metric.higher_is_better else -1.0
        shifted = tuple(t + sign * slack * b for b, t in zip(self.base, self.tuned, strict=True))
        metric = self.metric.model_copy(
            update={"binary": False, "range": _widen_range(self.metric.range, share)}
        )
        corpus = self.corpus and self.corpus.with_base(1 - sign * slack)
        labels = self.labels and tuple(
            pair and (pair[0], pair[1] + sign * slack * pair[0]) for pair in self.labels
        )
        calibration = self.calibration and self.calibration.shifted(sign * slack)
        return replace(
            self,
            metric=metric,
            reach=_relative_reach(self.metric, 1 - sign * slack),
            tuned=shifted,
            corpus=corpus,
            labels=labels,
            calibration=calibration,
        )

    def knows_base_sign(self, confidence: float) -> bool:
        """Return whether base's level is proven not to be 0, or no score of base has another sign.

        `relative` takes the sign of base's mean. At a true level of 0 the sample's sign is a coin,
        and always the one that lets tuned lose more: a tolerance would err with .12. Both ends
        together have the error of one, since a wrong sign can be enough for a pass.
        """
        if not self.n or min(self.base) >= 0 or max(self.base) <= 0:
            return True
        level = self.exchanged().estimator.level((1 + confidence) / 2)
        return level.low > 0 or level.high < 0

    def _slower_by(self, share: float) -> Pairs:
        """Return pairs of times whose difference is log(1 + share) - log(tuned/base).

        Times spread by factors, not by seconds: one slow case would otherwise decide alone. The
        difference is multiplied by base's mean, so that plans have it in seconds.

        Source: `tunegate.harness.stats.latency.geometric_mean_ratio`.
        """
        level, allowed = exact_mean(self.base), math.log1p(share)
        shifted = tuple(
            b - level * (allowed - math.log(t / b))
            for b, t in zip(self.base, self.tuned, strict=True)
        )
        return replace(self, tuned=shifted, in_logarithms=True)


def _widen_range(range_: tuple[float, float] | None, share: float) -> tuple[float, float] | None:
    """Return a range as wide as the largest difference once a share of base is added to it."""
    if range_ is None:
        return None
    return (range_[0], range_[1] + share * max(abs(range_[0]), abs(range_[1])))


def _relative_reach(metric: MetricRecord, ratio: float) -> tuple[float, float] | None:
    """Return how far tuned - ratio · base, oriented, can be below 0, and above.

    None if tuned can lose no more than its share.
    """
    if metric.range is None:
        return None
    sign = 1.0 if metric.higher_is_better else -1.0
    ends = [sign * (tuned - ratio * base) for tuned, base in product(metric.range, repeat=2)]
    below, above = -min(ends), max(ends)
    return (below, above) if min(below, above) > 0 else None


def estimator_of(pairs: Pairs) -> Estimator:
    """Return the estimator that the scores call for."""
    columns = pairs.suite, pairs.metric, pairs.base, pairs.tuned, _dependent(pairs)
    if pairs.labels is not None:
        alone = _labelled_alone(pairs, pairs.labels)
        return alone.estimator if alone else LabelledEstimator(*columns, labels=pairs.labels)
    if pairs.calibration is not None:
        uncorrected = replace(pairs, calibration=None).estimator
        return CalibratedEstimator(*columns, uncorrected=uncorrected, sample=pairs.calibration)
    if pairs.corpus is not None:
        return CorpusEstimator(*columns, counts=pairs.corpus)
    if pairs.limit is not None:
        return RelativeEstimator(*columns, limit=pairs.limit)
    if pairs.binary or pairs.whole_votes:
        return BinaryEstimator(*columns)
    return MeanEstimator(*columns, in_logarithms=pairs.in_logarithms, reach=pairs.reach)


def _dependent(pairs: Pairs) -> tuple[str, ...] | None:
    """Return the clusters; for times, blocks of the cases in the order they were timed."""
    if pairs.clusters is not None or pairs.metric.needs is not CellKind.LATENCY:
        return pairs.clusters
    from tunegate.harness.stats.latency import time_blocks

    return time_blocks(pairs.n)


def _labelled_alone(pairs: Pairs, labels: Labels) -> Pairs | None:
    """Return people's labels in place of the scores if all pairs, or all but one, have them."""
    if len(labels) - n_labelled(labels) >= 2:
        return None
    labelled = [(index, pair) for index, pair in enumerate(labels) if pair is not None]
    return replace(
        pairs,
        base=tuple(base for _, (base, _) in labelled),
        tuned=tuple(tuned for _, (_, tuned) in labelled),
        clusters=pairs.clusters and tuple(pairs.clusters[index] for index, _ in labelled),
        cases=tuple(pairs.cases[index] for index, _ in labelled) if pairs.cases else (),
        labels=None,
    )


def shared_clusters(clusters: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the clusters' labels; None if no two cases share one."""
    names = tuple(clusters or ())
    return names if len(set(names)) < len(names) else None


@dataclass(frozen=True, slots=True)
class JudgedPairs:
    """Pairs on the scale on which a gate judges them: their difference must exceed `margin`."""

    pairs: Pairs
    margin: float
