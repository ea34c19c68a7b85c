"""Paired scores of two arms, and the statistical method that they call for.

The choice of method is the specification's: Tango's score interval for 0/1 scores, the t ∧ Hall
envelope with its guard for continuous ones, cluster-robust forms where cases belong together.

A judge's difference set right by people's labels on some of the run's own pairs (PPI++). Levels and
difference are corrected at one weight, so that tuned's level less base's is the difference shown.
Where people labelled every pair the judge is not needed: their labels are all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from tunegate.harness.comparison.corpus_level import LEAST, Corpus, Sums
from tunegate.harness.records.cases import CellKind
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.stats.types import Interval, Test

FEW_CLUSTERS = 10
"""Below this many clusters no interval is trustworthy and the gate stays undecided."""


@dataclass(frozen=True)
class Pairs:
    """Complete pairs of one metric on one suite, with the counts of what is missing."""

    suite: str
    metric: MetricRecord
    base: tuple[float, ...] = field(repr=False)
    tuned: tuple[float, ...] = field(repr=False)
    clusters: tuple[str, ...] | None = field(default=None, repr=False)
    """Cluster of each pair; None where every case stands for itself."""
    n_unscored: Mapping[str, int] = field(default_factory=dict)
    """Arm → cases without a score."""
    chance: float | None = None
    """Accuracy of guessing, for multiple choice."""
    corpus: Corpus | None = field(default=None, repr=False)
    """The counts behind the scores, where the levels are a function of their sums."""
    cases: tuple[str, ...] = field(default=(), repr=False)
    """Id of each pair's case, where known."""
    labels: tuple[tuple[float, float] | None, ...] | None = field(default=None, repr=False)
    """What people say of each pair's two answers, or None; where given, they set a judge's scores
    right."""

    @property
    def n(self) -> int:
        """Number of complete pairs."""
        return len(self.base)

    @property
    def base_level(self) -> float:
        """Base's mean score, corrected or over the corpus; NaN if there are no pairs."""
        if self.labels is not None:
            return levels(self).base
        return _level(self.base, None if self.corpus is None else self.corpus.base)

    @property
    def tuned_level(self) -> float:
        """Tuned's, likewise."""
        if self.labels is not None:
            return levels(self).tuned
        return _level(self.tuned, None if self.corpus is None else self.corpus.tuned)

    @property
    def estimate(self) -> float:
        """The oriented difference of the levels, at least one pair given."""
        if self.labels is not None:
            return difference(self, 0.90).estimate
        return mean(self.differences) if self.corpus is None else self.corpus.difference.value

    @property
    def independent(self) -> list[float]:
        """Values, one for each case or cluster, whose mean and its error are the estimate's."""
        if self.corpus is None:
            return by_unit(self.differences, self.clusters)
        return list(map(float, self.corpus.difference.pseudo_values))

    @property
    def advisory(self) -> bool:
        """Whether there are too few cases for a corpus value to be gated on."""
        return self.corpus is not None and self.n < LEAST

    @cached_property
    def binary(self) -> bool:
        """Whether all scores are 0 or 1, and the metric's range does not speak against it."""
        return self.labels is None and is_binary(self.metric, (*self.base, *self.tuned))

    @cached_property
    def differences(self) -> tuple[float, ...]:
        """Oriented differences of the scores: positive means tuned is better."""
        sign = 1.0 if self.metric.higher_is_better else -1.0
        return tuple(sign * (t - b) for b, t in zip(self.base, self.tuned, strict=True))

    @property
    def wins(self) -> int:
        """Cases on which tuned is better."""
        return sum(d > 0 for d in self.differences)

    @property
    def losses(self) -> int:
        """Cases on which tuned is worse."""
        return sum(d < 0 for d in self.differences)

    @cached_property
    def n_clusters(self) -> int | None:
        """Number of clusters; None where every case stands for itself."""
        return None if self.clusters is None else len(set(self.clusters))

    @property
    def too_few(self) -> bool:
        """Whether there is too little to compute an interval from."""
        return self.n < 2 or (self.n_clusters is not None and self.n_clusters < FEW_CLUSTERS)

    @property
    def why_too_few(self) -> str:
        """What there is too little of, for the report's column on methods."""
        return "too few cases" if self.n < 2 else "too few clusters"

    def interval(self, confidence: float) -> Interval:
        """Return the oriented difference's interval; ±range where there is too little data."""
        return interval(self, confidence)

    def test(self, margin: float) -> Test:
        """Return the one-sided test of "the oriented difference is at most `margin`"."""
        return test(self, margin)

    def reversed_test(self) -> Test:
        """Return the one-sided test of "tuned is not worse than base at all"."""
        return self.exchanged().test(0.0)

    def exchanged(self) -> Pairs:
        """Return the pairs with the arms exchanged: what is proven of them is tuned's loss."""
        corpus = self.corpus and self.corpus.exchanged()
        labels = self.labels and tuple(pair and (pair[1], pair[0]) for pair in self.labels)
        return replace(self, base=self.tuned, tuned=self.base, corpus=corpus, labels=labels)

    def two_sided_p(self) -> float | None:
        """Return the p-value of "there is no difference"; None where there is too little data.

        For looking around, not for gates, which ask `test` and take its strictest opinion: 0/1
        scores get McNemar's mid-p alone, all others twice the smaller of both directions.
        """
        from tunegate.harness.stats import binary as proportions

        if self.too_few:
            return None
        if self.binary and self.clusters is None:
            both = (
                proportions.mcnemar_midp(self.wins, self.losses),
                proportions.mcnemar_midp(self.losses, self.wins),
            )
        else:
            both = (self.test(0.0), self.reversed_test())
        return min(1.0, 2 * min(test.p_value for test in both))

    def relative(self, share: float) -> Pairs:
        """Return pairs whose difference is the distance from a loss of `share` of base's level.

        The estimate is d̄ + share·|base's level|, so that non-inferiority within the share is one
        above 0; unlike a margin fixed at the observed base, it carries base's own uncertainty.
        Of times the geometric mean of tuned/base is judged (`_slower_by`).
        """
        if not self.n:
            return self
        if self.metric.needs is CellKind.LATENCY and min(*self.base, *self.tuned) > 0:
            return self._slower_by(share)
        slack = math.copysign(share, self.base_level)
        sign = 1.0 if self.metric.higher_is_better else -1.0
        shifted = tuple(t + sign * slack * b for b, t in zip(self.base, self.tuned, strict=True))
        metric = self.metric.model_copy(
            update={"binary": False, "range": _widened(self.metric.range, share)}
        )
        corpus = self.corpus and self.corpus.with_base(1 - sign * slack)
        labels = self.labels and tuple(
            pair and (pair[0], pair[1] + sign * slack * pair[0]) for pair in self.labels
        )
        return replace(self, metric=metric, tuned=shifted, corpus=corpus, labels=labels)

    def _slower_by(self, share: float) -> Pairs:
        """Return pairs of times whose difference is log(1 + share) - log(tuned/base).

        It is given in base's unit, times base's mean, so that plans can size it. Times spread by
        factors, not by seconds: a slow case would otherwise decide alone.

        Source: `tunegate.harness.stats.latency.geometric_mean_ratio`.
        """
        level, allowed = mean(self.base), math.log1p(share)
        shifted = tuple(
            b - level * (allowed - math.log(t / b))
            for b, t in zip(self.base, self.tuned, strict=True)
        )
        return replace(self, tuned=shifted)


def _widened(range_: tuple[float, float] | None, share: float) -> tuple[float, float] | None:
    """Return a range as wide as the largest difference once a share of base is added to it."""
    if range_ is None:
        return None
    return (range_[0], range_[1] + share * max(abs(range_[0]), abs(range_[1])))


def is_binary(metric: MetricRecord, values: Sequence[float]) -> bool:
    """Return whether the values are successes and failures.

    Values that are all 0 or 1 are, declared or not: with few failures the t interval, which would
    judge them otherwise, errs twice as often as promised. A wider declared range says that other
    values were possible; behind a corpus value stand counts, not successes.
    """
    possible = metric.binary or metric.range in (None, (0.0, 1.0))
    return metric.corpus is None and possible and set(values) <= {0.0, 1.0}


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; 0.0 is never returned for no values: it raises ValueError."""
    if not values:
        raise ValueError("values must hold at least one value")
    return math.fsum(values) / len(values)


def _level(values: Sequence[float], sums: Sums | None) -> float:
    if not values:
        return float("nan")
    return mean(values) if sums is None else sums.replicates.value


def shared(clusters: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the clusters' labels; None if no two cases have the same one."""
    names = tuple(clusters or ())
    return names if len(set(names)) < len(names) else None


def by_unit(values: Sequence[float], clusters: Sequence[str] | None) -> list[float]:
    """Return the independent values: those of the cases, or each cluster's share of the mean."""
    if clusters is None:
        return list(values)
    sums: dict[str, float] = {}
    for value, name in zip(values, clusters, strict=True):
        sums[name] = sums.get(name, 0.0) + value
    size = len(values) / len(sums)
    return [total / size for total in sums.values()]


def interval(pairs: Pairs, confidence: float) -> Interval:
    """Return the interval of the oriented difference; ±range where there is too little data."""
    from tunegate.harness.stats import binary as proportions
    from tunegate.harness.stats import clusters, paired_mean

    differences, bound = pairs.differences, pairs.metric.bound
    if pairs.too_few:
        width = float("inf") if bound is None else bound
        estimate = pairs.estimate if differences else 0.0
        return Interval(estimate, -width, width, confidence, pairs.why_too_few)
    if pairs.labels is not None:
        return difference(pairs, confidence)
    if pairs.corpus is not None:
        return pairs.corpus.difference.interval(confidence=confidence, bound=bound)
    if pairs.binary and pairs.clusters is not None:
        return clusters.clustered_binary_interval(
            [round(d) for d in differences], pairs.clusters, confidence=confidence
        )
    if pairs.binary:
        return proportions.tango_interval(pairs.wins, pairs.losses, pairs.n, confidence=confidence)
    return paired_mean.mean_interval(
        differences, confidence=confidence, bound=bound, clusters=pairs.clusters
    )


def test(pairs: Pairs, margin: float) -> Test:
    """Return the one-sided test of "the oriented difference is at most `margin`"."""
    from tunegate.harness.stats import binary as proportions
    from tunegate.harness.stats import clusters, paired_mean

    if pairs.too_few:
        return Test(0.0, 1.0, margin, pairs.why_too_few)
    if pairs.labels is not None:
        return difference_test(pairs, margin)
    if pairs.corpus is not None:
        return pairs.corpus.difference.test(margin=margin, bound=pairs.metric.bound)
    # Beyond 1 there is no difference of 0/1 scores to test; only an undeclared range gets here.
    binary, differences = pairs.binary and abs(margin) < 1, pairs.differences
    if binary and pairs.clusters is not None:
        return clusters.clustered_binary_test(
            [round(d) for d in differences], pairs.clusters, margin=margin
        )
    if binary:
        wins, losses = pairs.wins, pairs.losses
        return _strictest(
            proportions.tango_test(wins, losses, pairs.n, margin=margin),
            *_second_opinions(wins, losses, pairs.n, margin),
        )
    return paired_mean.mean_test(
        differences, margin=margin, bound=pairs.metric.bound, clusters=pairs.clusters
    )


_EXACT_LIMIT = 1000
"""Cases up to which the exact unconditional test joins Tango's for margins above 0."""


def _second_opinions(wins: int, losses: int, n: int, margin: float) -> list[Test]:
    """Return the tests that must agree with Tango's, where its size alone is above nominal."""
    from tunegate.harness.stats import binary as proportions

    if margin == 0:
        return [proportions.mcnemar_midp(wins, losses)]
    if margin > 0 and n <= _EXACT_LIMIT:
        return [proportions.exact_unconditional(wins, losses, n, margin=margin)]
    return []


def _strictest(*tests: Test) -> Test:
    return max(tests, key=lambda test: test.p_value)


Column = list[float]


@dataclass(frozen=True, slots=True)
class Columns:
    """Values by people and by the judge on the labelled pairs, and by the judge on the others."""

    human: Column
    judge: Column
    rest: Column


@dataclass(frozen=True, slots=True)
class Levels:
    """What people would see of each arm."""

    base: float
    tuned: float


def difference(pairs: Pairs, confidence: float) -> Interval:
    """Return the interval of the oriented difference that people would see."""
    from tunegate.harness.stats.ppi import ppi_interval

    alone = labelled_alone(pairs)
    if alone is not None:
        return alone.interval(confidence)
    found = _differences(pairs)
    return ppi_interval(
        found.human, found.judge, found.rest, confidence=confidence, bound=pairs.metric.bound
    )


def difference_test(pairs: Pairs, margin: float) -> Test:
    """Return the one-sided test of "people would see a difference of at most `margin`"."""
    from tunegate.harness.stats.ppi import ppi_test

    alone = labelled_alone(pairs)
    if alone is not None:
        return alone.test(margin)
    found = _differences(pairs)
    bound = pairs.metric.bound
    return ppi_test(found.human, found.judge, found.rest, margin=margin, bound=bound)


def levels(pairs: Pairs) -> Levels:
    """Return both arms' levels as people would see them."""
    from tunegate.harness.stats.ppi import corrected_mean

    alone = labelled_alone(pairs)
    if alone is not None:
        return Levels(alone.base_level, alone.tuned_level)
    weight = _weight(pairs)
    base, tuned = (
        corrected_mean(side.human, side.judge, side.rest, weight=weight)
        for side in (_side(pairs, tuned=False), _side(pairs, tuned=True))
    )
    return Levels(base, tuned)


def tuned_level(pairs: Pairs, confidence: float) -> Interval:
    """Return the interval of tuned's level as people would see it, at the difference's weight."""
    from tunegate.harness.stats.ppi import ppi_interval

    least, most = pairs.metric.range or (0.0, 0.0)
    middle, bound = (least + most) / 2, (most - least) / 2 or None
    side = _side(pairs, tuned=True)
    moved = [[value - middle for value in c] for c in (side.human, side.judge, side.rest)]
    weight = _weight(pairs)
    found = ppi_interval(*moved, confidence=confidence, bound=bound, weight=weight)
    return replace(
        found,
        estimate=found.estimate + middle,
        low=found.low + middle,
        high=found.high + middle,
    )


def n_labelled(pairs: Pairs) -> int:
    """Return on how many pairs people labelled both answers."""
    return sum(pair is not None for pair in pairs.labels or ())


def labelled_alone(pairs: Pairs) -> Pairs | None:
    """Return the pairs as people see them where they labelled all, or all but one; else None."""
    labels = pairs.labels or ()
    if len(labels) - n_labelled(pairs) >= 2:
        return None
    known = [pair for pair in labels if pair is not None]
    return replace(
        pairs,
        base=tuple(base for base, _ in known),
        tuned=tuple(tuned for _, tuned in known),
        labels=None,
    )


def _weight(pairs: Pairs) -> float:
    from tunegate.harness.stats.ppi import ppi_weight

    found = _differences(pairs)
    return ppi_weight(found.human, found.judge, found.rest)


def _differences(pairs: Pairs) -> Columns:
    sign = 1.0 if pairs.metric.higher_is_better else -1.0
    human = [None if pair is None else sign * (pair[1] - pair[0]) for pair in pairs.labels or ()]
    return _split(human, pairs.differences)


def _side(pairs: Pairs, *, tuned: bool) -> Columns:
    human = [None if pair is None else pair[int(tuned)] for pair in pairs.labels or ()]
    return _split(human, pairs.tuned if tuned else pairs.base)


def _split(human: list[float | None], judge: tuple[float, ...]) -> Columns:
    both = [(h, j) for h, j in zip(human, judge, strict=True) if h is not None]
    rest = [j for h, j in zip(human, judge, strict=True) if h is None]
    return Columns([h for h, _ in both], [j for _, j in both], rest)
