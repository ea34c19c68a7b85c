"""From two columns of scores to a Delta: the paired difference of one metric on one suite.

Statistics work on oriented differences (positive = tuned is better); a `Delta` speaks of
tuned − base, as people do. The choice of method is the specification's: Tango's score interval
for 0/1 scores, the t ∧ Hall envelope with its guard for continuous ones, cluster-robust forms
where cases belong together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from harness.errors import Undecided
from harness.manifest import MetricRecord
from harness.stats.result import Interval, Test

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

    @property
    def n(self) -> int:
        """Number of complete pairs."""
        return len(self.base)

    @cached_property
    def binary(self) -> bool:
        """Whether all scores are 0 or 1, by declaration and in fact."""
        return self.metric.binary and set(self.base) | set(self.tuned) <= {0.0, 1.0}

    @cached_property
    def differences(self) -> tuple[float, ...]:
        """Oriented differences: positive means tuned is better."""
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

    def interval(self, confidence: float) -> Interval:
        """Return the oriented difference's interval; ±range where there is too little data."""
        return _interval(self, self.differences, confidence, binary=self.binary)

    def test(self, margin: float) -> Test:
        """Return the one-sided test of "the oriented difference is at most `margin`"."""
        return _test(self, self.differences, margin, binary=self.binary)

    def reversed_test(self) -> Test:
        """Return the one-sided test of "tuned is not worse than base at all"."""
        return _test(self, tuple(-d for d in self.differences), 0.0, binary=self.binary)

    def relative(self, share: float) -> Pairs:
        """Return pairs whose difference is the distance from a loss of `share` of base's level.

        Their mean is d̄ + share·|base mean|, so that non-inferiority within the share is a mean
        above 0; unlike a margin fixed at the observed base, it carries base's own uncertainty.
        """
        level = mean(self.base)
        slack = share if level >= 0 else -share
        sign = 1.0 if self.metric.higher_is_better else -1.0
        shifted = tuple(t + sign * slack * b for b, t in zip(self.base, self.tuned, strict=True))
        metric = self.metric.model_copy(
            update={"binary": False, "range": _widened(self.metric.range, share)}
        )
        return Pairs(self.suite, metric, self.base, shifted, self.clusters, self.n_unscored)


def _widened(range_: tuple[float, float] | None, share: float) -> tuple[float, float] | None:
    if range_ is None:
        return None
    extra = share * max(abs(range_[0]), abs(range_[1]))
    return (range_[0] - extra, range_[1] + extra)


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; 0.0 is never returned for no values: it raises ValueError."""
    if not values:
        raise ValueError("values must hold at least one value")
    return sum(values) / len(values)


def _interval(
    pairs: Pairs, differences: Sequence[float], confidence: float, *, binary: bool
) -> Interval:
    from harness.stats import binary as proportions
    from harness.stats import paired

    bound = pairs.metric.bound
    if pairs.too_few:
        width = float("inf") if bound is None else bound
        estimate = mean(differences) if differences else 0.0
        return Interval(estimate, -width, width, confidence, "too few cases for an interval")
    if binary and pairs.clusters is not None:
        return paired.clustered_binary_interval(
            [round(d) for d in differences], pairs.clusters, confidence=confidence
        )
    if binary:
        wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
        return proportions.tango_interval(wins, losses, pairs.n, confidence=confidence)
    return paired.mean_interval(
        differences, confidence=confidence, bound=bound, clusters=pairs.clusters
    )


def _test(pairs: Pairs, differences: Sequence[float], margin: float, *, binary: bool) -> Test:
    from harness.stats import binary as proportions
    from harness.stats import paired

    if pairs.too_few:
        return Test(0.0, 1.0, margin, "too few cases for a test")
    if binary and pairs.clusters is not None:
        return paired.clustered_binary_test(
            [round(d) for d in differences], pairs.clusters, margin=margin
        )
    if binary:
        wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
        return _strictest(
            proportions.tango_test(wins, losses, pairs.n, margin=margin),
            *_second_opinions(wins, losses, pairs.n, margin),
        )
    return paired.mean_test(
        differences, margin=margin, bound=pairs.metric.bound, clusters=pairs.clusters
    )


_EXACT_LIMIT = 1000
"""Cases up to which the exact unconditional test joins Tango's for margins above 0."""


def _second_opinions(wins: int, losses: int, n: int, margin: float) -> list[Test]:
    """Return the tests that must agree with Tango's, where its size alone is above nominal."""
    from harness.stats import binary as proportions

    if margin == 0:
        return [proportions.mcnemar_midp(wins, losses)]
    if margin > 0 and n <= _EXACT_LIMIT:
        return [proportions.exact_unconditional(wins, losses, n, margin=margin)]
    return []


def _strictest(*tests: Test) -> Test:
    return max(tests, key=lambda test: test.p_value)


@dataclass(frozen=True)
class Delta:
    """The paired difference tuned − base of one metric on one suite, with its interval."""

    pairs: Pairs
    confidence: float = 0.90

    @property
    def base(self) -> float:
        """Base's mean over the complete pairs; NaN if there are none."""
        return mean(self.pairs.base) if self.pairs.n else float("nan")

    @property
    def tuned(self) -> float:
        """Tuned's mean over the complete pairs; NaN if there are none."""
        return mean(self.pairs.tuned) if self.pairs.n else float("nan")

    @property
    def estimate(self) -> float:
        """tuned − base."""
        return self.tuned - self.base

    @cached_property
    def oriented(self) -> Interval:
        """The interval of the improvement: positive means tuned is better."""
        return self.pairs.interval(self.confidence)

    @property
    def low(self) -> float:
        """Lower end of the interval of tuned − base."""
        return self.oriented.low if self.pairs.metric.higher_is_better else -self.oriented.high

    @property
    def high(self) -> float:
        """Upper end of the interval of tuned − base."""
        return self.oriented.high if self.pairs.metric.higher_is_better else -self.oriented.low

    @property
    def n(self) -> int:
        """Number of complete pairs."""
        return self.pairs.n

    def gains(self, by: float = 0.0) -> bool:
        """Return True if tuned is proven better by more than `by`, False if proven not to be.

        Raises:
            Undecided: the evidence is too thin for either.
        """
        return self._decide(by, f"gains by more than {by:g}")

    def holds(self, within: float) -> bool:
        """Return True if tuned is proven no worse than base by `within`, False if proven worse.

        Raises:
            Undecided: the evidence is too thin for either.
            ValueError: `within` is not above 0.
        """
        if not within > 0:
            raise ValueError(f"within={within!r} must be above 0: equality cannot be proven")
        return self._decide(-within, f"holds within {within:g}")

    def _decide(self, margin: float, claim: str) -> bool:
        alpha = (1 - self.confidence) / 2
        if self.oriented.low > margin and self.pairs.test(margin).p_value <= alpha:
            return True
        if self.oriented.high < margin:
            return False
        raise Undecided(
            f"{self.pairs.metric.name} on {self.pairs.suite}: {claim!r} is undecided with "
            f"{self.n} cases: {self}"
        )

    def __str__(self) -> str:
        """Return base, tuned, difference and interval in one line."""
        return (
            f"base {self.base:.4g}, tuned {self.tuned:.4g}, difference {self.estimate:+.4g} "
            f"[{self.low:+.4g}, {self.high:+.4g}] at {self.confidence:.0%}"
        )


def compare(
    base: Sequence[float],
    tuned: Sequence[float],
    *,
    metric: MetricRecord,
    clusters: Sequence[str] | None = None,
    confidence: float = 0.90,
) -> Delta:
    """Compare two columns of scores of the same cases in the same order.

    Raises:
        ValueError: the columns differ in length.
    """
    if len(base) != len(tuned):
        raise ValueError(f"base has {len(base)} scores and tuned {len(tuned)}; they must be pairs")
    pairs = Pairs(
        suite="",
        metric=metric,
        base=tuple(base),
        tuned=tuple(tuned),
        clusters=tuple(clusters) if clusters else None,
    )
    return Delta(pairs, confidence)
