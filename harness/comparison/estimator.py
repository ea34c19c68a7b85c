"""The contract of an estimator: it infers a difference and a level from paired scores.

`mean_level` has those for 0/1 and other scores, `corpus_level` the one for corpus values,
`labelled_level` and `calibrated_level` those for a judge that labels correct. `pairs.estimator_of`
chooses.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.stats.types import Interval, OneSidedTest

LEAST_UNBOUNDED = 200
"""Independent cases below which a gate on scores without a range is advisory: lognormal losses err
with .087 at 50 cases and with .058 at 200."""
FEW_CLUSTERS = 10
"""Below this many clusters no interval can be trusted, and a gate stays undecided."""


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
class NeededCases:
    """How many cases prove a difference in 4 of 5 runs."""

    n: int
    """With the observed spread of the scores."""
    most: int | None
    """With the widest plausible spread; None if no number is enough."""


_INSIDE = 1 - 1e-9
"""Share of the largest difference up to which margins are tested."""
_RARE = 0.10
"""Error at each end of the interval of the spread."""


@dataclass(frozen=True)
class PairedScores:
    """The scores of two arms on the same cases of a suite, in the same order."""

    suite: str
    metric: MetricRecord
    base: tuple[float, ...] = field(repr=False)
    tuned: tuple[float, ...] = field(repr=False)
    clusters: tuple[str, ...] | None = field(default=None, repr=False)
    """Cluster of each pair; None if all cases are independent."""
    in_logarithms: bool = field(default=False, kw_only=True)
    """Whether the differences are of logarithms, whose tails are light."""

    @property
    def n(self) -> int:
        """Number of complete pairs."""
        return len(self.base)

    @cached_property
    def n_clusters(self) -> int | None:
        """Number of clusters; None if all cases are independent."""
        return None if self.clusters is None else len(set(self.clusters))

    @cached_property
    def differences(self) -> tuple[float, ...]:
        """Oriented differences of the scores: positive means tuned is better."""
        return tuple(self.sign * (t - b) for b, t in zip(self.base, self.tuned, strict=True))

    @property
    def sign(self) -> float:
        """1 if a higher score is better, else -1."""
        return 1.0 if self.metric.higher_is_better else -1.0

    @property
    def wins(self) -> int:
        """Cases on which tuned is better."""
        return sum(d > 0 for d in self.differences)

    @property
    def losses(self) -> int:
        """Cases on which tuned is worse."""
        return sum(d < 0 for d in self.differences)

    @property
    def too_few(self) -> bool:
        """Whether there are too few cases or clusters for an interval."""
        return self.n < 2 or (self.n_clusters is not None and self.n_clusters < FEW_CLUSTERS)

    @property
    def why_too_few(self) -> str:
        """What is scarce, for the report's column on methods."""
        return "too few cases" if self.n < 2 else "too few clusters"


class Estimator(PairedScores, ABC):
    """A method for the difference of two arms and for tuned's level."""

    @property
    @abstractmethod
    def base_level(self) -> float:
        """Base's level; NaN if there are no pairs."""

    @property
    @abstractmethod
    def tuned_level(self) -> float:
        """Tuned's level; NaN if there are no pairs."""

    @property
    @abstractmethod
    def estimate(self) -> float:
        """The oriented difference of the levels, of at least one pair."""

    @property
    def why_advisory(self) -> str:
        """Why a gate on so few cases cannot count; "" if it can."""
        return ""

    @property
    def advisory(self) -> bool:
        """Whether there are too few cases for a gate to count."""
        return bool(self.why_advisory)

    @property
    def skewed(self) -> bool:
        """Whether the values are so skewed that the interval may err on one side."""
        return False

    @property
    def least_margin(self) -> float:
        """The least margin that can be tested."""
        return -math.inf if self.metric.bound is None else -self.metric.bound * _INSIDE

    def interval(self, confidence: float) -> Interval:
        """Return the oriented difference's interval; ±range if there is too little data."""
        if not self.too_few:
            return self._interval(confidence)
        width = math.inf if self.metric.bound is None else self.metric.bound
        estimate = self.estimate if self.n else 0.0
        return Interval(estimate, -width, width, confidence, self.why_too_few)

    def test(self, margin: float) -> OneSidedTest:
        """Return the one-sided test of "the oriented difference is at most `margin`"."""
        return (
            OneSidedTest(0.0, 1.0, margin, self.why_too_few) if self.too_few else self._test(margin)
        )

    def exploratory_test(self) -> OneSidedTest:
        """Return the exploratory test of "tuned is no better than base", which no gate uses."""
        return self.test(0.0)

    def level(self, confidence: float) -> Interval:
        """Return the interval of tuned's level; the metric's range if there is too little data."""
        if not self.too_few:
            return self._level(confidence)
        least, most = self.metric.range or (-math.inf, math.inf)
        if is_binary(self.metric, self.tuned):
            least, most = 0.0, 1.0
        return Interval(self.tuned_level, least, most, confidence, self.why_too_few)

    def plan(self, effect: float, margin: float, confidence: float) -> NeededCases | None:
        """Return the cases that prove a true difference with 80 % power.

        Args:
            effect: The true oriented difference (`delta.plannable_effect`).
            margin: What it must be proven to exceed.
            confidence: Two-sided level of the interval that decides.

        Returns:
            None if the effect is not above the margin, or if no number of cases is enough.
        """
        if self.too_few or effect <= margin:
            return None
        fewest, most = (
            self._plan(effect, margin, confidence, share) for share in (1.0, self._largest_spread())
        )
        return None if fewest is None else NeededCases(fewest, most)

    def _largest_spread(self) -> float:
        """Return the upper end of an 80 % interval of the variance, relative to the observed one.

        Source: the chi-square distribution of a normal sample's variance.
        """
        from tunegate.harness.stats.distributions import deviation_quantiles

        degrees = max(1, (self.n if self.n_clusters is None else self.n_clusters) - 1)
        return 1 / float(deviation_quantiles(_RARE, degrees)) ** 2

    def plan_level(self, bound: float, confidence: float, *, is_lower: bool) -> int | None:
        """Return the cases that certify a bound at the observed level of tuned with 80 % power.

        Args:
            bound: The level to certify.
            confidence: Two-sided level of the interval that decides.
            is_lower: Whether the bound is a floor instead of a ceiling.

        Returns:
            None if the level is on the wrong side of the bound, or no number of cases is enough.
        """
        sign = 1.0 if is_lower else -1.0
        if self.n < 2 or sign * self.tuned_level <= sign * bound:
            return None
        return self._plan_level(bound, confidence, sign)

    @abstractmethod
    def spread(self, *, beyond_counts: bool = False) -> ScoreSpread | None:
        """Return how differently the arms score the same cases, to plan the next run.

        Args:
            beyond_counts: Whether the plan is about differences that 0/1 scores cannot have.

        Returns:
            None if all differences of continuous scores are equal, which says nothing about the
            next run. For 0/1 scores at least one discordant pair is assumed.
        """

    @abstractmethod
    def _interval(self, confidence: float) -> Interval: ...

    @abstractmethod
    def _test(self, margin: float) -> OneSidedTest: ...

    @abstractmethod
    def _level(self, confidence: float) -> Interval: ...

    @abstractmethod
    def _plan(self, effect: float, margin: float, confidence: float, share: float) -> int | None:
        """Return the cases if the variance is `share` times the observed one."""

    @abstractmethod
    def _plan_level(self, bound: float, confidence: float, sign: float) -> int | None: ...


def few_without_range(units: int) -> str:
    """Return why a gate without a range on so few independent cases cannot count, or ""."""
    if units >= LEAST_UNBOUNDED:
        return ""
    return (
        f"scores without a range gate from {LEAST_UNBOUNDED} independent cases on, and not with "
        f"{units}: add cases, or set range = [least, largest] on the metric"
    )


def interval_centre(metric: MetricRecord) -> tuple[float, float | None]:
    """Return the middle of a metric's range and half its width; 0 and None without one."""
    if metric.range is None:
        return 0.0, None
    least, most = metric.range
    return (least + most) / 2, (most - least) / 2


def shift_interval(interval: Interval, by: float) -> Interval:
    """Return the interval moved by a constant."""
    return replace(
        interval,
        estimate=interval.estimate + by,
        low=interval.low + by,
        high=interval.high + by,
    )


def is_binary(metric: MetricRecord, values: Sequence[float]) -> bool:
    """Return whether the values are successes and failures.

    All values of 0 or 1 are, declared or not: with few failures the t interval would err twice as
    often as promised. A wider declared range means that other values were possible.
    """
    possible = metric.binary or metric.range in (None, (0.0, 1.0))
    return metric.corpus is None and possible and set(values) <= {0.0, 1.0}


def exact_mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean, rounded once; it raises ValueError without values."""
    if not values:
        raise ValueError("values must hold at least one value")
    return math.fsum(values) / len(values)


def unit_values(values: Sequence[float], clusters: Sequence[str] | None) -> list[float]:
    """Return the independent values: one per case, or one per cluster with the same mean."""
    if clusters is None:
        return list(values)
    sums: dict[str, float] = {}
    for value, name in zip(values, clusters, strict=True):
        sums[name] = sums.get(name, 0.0) + value
    size = len(values) / len(sums)
    return [total / size for total in sums.values()]
