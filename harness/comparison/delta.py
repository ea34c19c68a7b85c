"""`Delta`: the paired difference tuned − base of one metric on one suite.

Statistics work on oriented differences instead, where positive means tuned is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tunegate.harness.comparison.pairs import Pairs, shared_clusters
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.errors import Undecided
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.records.scores import LARGEST
from tunegate.harness.records.wording import count_noun
from tunegate.harness.stats.types import Interval


@dataclass(frozen=True)
class Delta:
    """A paired difference with its interval, which tests can assert on."""

    pairs: Pairs
    confidence: float = CONFIDENCE

    @property
    def base(self) -> float:
        """Base's level (mean, or corpus value) over the complete pairs; NaN without any."""
        return self.pairs.base_level

    @property
    def tuned(self) -> float:
        """Tuned's level, likewise."""
        return self.pairs.tuned_level

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
        return self._decide(by, f"gains more than {by:g}")

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
        if is_proven(self.pairs, margin, self.confidence):
            return True
        if not self.pairs.too_few and is_proven(self.pairs.exchanged(), -margin, self.confidence):
            return False
        place = f" on {self.pairs.suite}" if self.pairs.suite else ""
        cases = count_noun(self.n, "case")
        raise Undecided(
            f"{self.pairs.metric.name}{place}: whether it {claim} is undecided with {cases}: {self}"
        )

    def __repr__(self) -> str:
        """Return metric, suite and numbers for a failed assert."""
        place = f" on {self.pairs.suite}" if self.pairs.suite else ""
        return f"Delta({self.pairs.metric.name}{place}: {self}, n = {self.n})"

    def __str__(self) -> str:
        """Return base, tuned, difference and interval in one line."""
        if not self.n:
            return "no case has a score in both arms"
        return (
            f"base {self.base:.4g}, tuned {self.tuned:.4g}, difference {self.estimate:+.4g} "
            f"[{self.low:+.4g}, {self.high:+.4g}] at {100 * self.confidence:g} %"
        )


def is_proven(pairs: Pairs, margin: float, confidence: float) -> bool:
    """Return whether the oriented difference is proven to exceed `margin`."""
    return not pairs.too_few and pairs.test(margin).p_value <= one_sided(confidence) + 1e-12


def plannable_effect(pairs: Pairs, hoped: float, confidence: float) -> float:
    """Return the difference to plan further cases for: hoped for, or seen if that is ruled out.

    The observed one is no plan otherwise: planning with what made a gate undecided is off by a
    factor of ten half of the time.
    """
    ruled_out = is_proven(pairs.exchanged(), -hoped, confidence)
    return pairs.estimate if ruled_out else hoped


def interval_around(pairs: Pairs, margins: Iterable[float], confidence: float) -> Interval:
    """Return the oriented difference's interval, on the side of each margin that is proven.

    Interval and test are inversions of each other, with three exceptions: an exact p-value has
    small jumps, McNemar's mid-p joins at 0 alone, and of clusters a tolerance asks more than a
    gain. There the limit is where the test of the margin turns. If a gain is proven and a tolerance
    is not, the interval holds both margins.
    """
    interval = pairs.interval(confidence)
    low, high, exchanged = interval.low, interval.high, pairs.exchanged()
    ordered = [] if pairs.too_few else sorted(margins)
    for margin in reversed(ordered):
        if low > margin and not is_proven(pairs, margin, confidence):
            low = _turn_below(pairs, margin, confidence)
        elif low <= margin < interval.estimate and is_proven(pairs, margin, confidence):
            low = math.nextafter(margin, math.inf)
    for margin in ordered:
        if high < margin and not is_proven(exchanged, -margin, confidence):
            high = -_turn_below(exchanged, -margin, confidence)
        elif high >= margin > interval.estimate and is_proven(exchanged, -margin, confidence):
            high = math.nextafter(margin, -math.inf)
    return replace(interval, low=low, high=high)


def _turn_below(pairs: Pairs, margin: float, confidence: float) -> float:
    """Return where the test turns to "proven" below a margin that is not."""
    from tunegate.harness.stats.distributions import find_root

    least = pairs.estimator.least_margin

    def excess(at: float) -> float:
        return pairs.test(at).p_value - one_sided(confidence)

    if math.isinf(least) or excess(least) > 0:
        return least
    root = find_root(excess, least, margin)
    return root if root < margin - 1e-9 else margin  # a jump at the margin itself


def one_sided(confidence: float) -> float:
    """Return the error at each end of a two-sided interval."""
    return (1 - confidence) / 2


def compare_scores(
    base: Sequence[float],
    tuned: Sequence[float],
    *,
    metric: MetricRecord,
    clusters: Sequence[str] | None = None,
    confidence: float = CONFIDENCE,
) -> Delta:
    """Compare two columns of scores of the same cases in the same order.

    Raises:
        ValueError: the columns differ in length, a score is not finite, or the metric is a corpus
            metric, which takes counts.
    """
    if metric.corpus is not None:
        raise ValueError(
            f"metric={metric.name!r} is a corpus metric; columns of scores are not enough"
        )
    if len(base) != len(tuned):
        raise ValueError(f"base has {len(base)} scores and tuned {len(tuned)}; they must be pairs")
    if clusters is not None and len(clusters) != len(base):
        raise ValueError(f"clusters has {len(clusters)} labels and base {len(base)} scores")
    for name, values in (("base", base), ("tuned", tuned)):
        for index, value in enumerate(values):
            if not abs(value) <= LARGEST:
                raise ValueError(f"{name}[{index}]={value} must be a finite score; drop its pair")
    pairs = Pairs(
        suite="",
        metric=metric,
        base=tuple(map(float, base)),
        tuned=tuple(map(float, tuned)),
        clusters=shared_clusters(clusters),
    )
    return Delta(pairs, confidence)
