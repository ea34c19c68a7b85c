"""Which statistic a gate's pairs call for: the specification's choice, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.stats.result import Interval, Test
from harness.verdict import corrected

if TYPE_CHECKING:
    from harness.verdict.pairs import Pairs


def interval(pairs: Pairs, confidence: float) -> Interval:
    """Return the interval of the oriented difference; ±range where there is too little data."""
    from harness.stats import binary as proportions
    from harness.stats import paired

    differences, bound = pairs.differences, pairs.metric.bound
    if pairs.too_few:
        width = float("inf") if bound is None else bound
        estimate = pairs.estimate if differences else 0.0
        return Interval(estimate, -width, width, confidence, pairs.why_too_few)
    if pairs.labels is not None:
        return corrected.difference(pairs, confidence)
    if pairs.corpus is not None:
        return pairs.corpus.difference.interval(confidence=confidence, bound=bound)
    if pairs.binary and pairs.clusters is not None:
        return paired.clustered_binary_interval(
            [round(d) for d in differences], pairs.clusters, confidence=confidence
        )
    if pairs.binary:
        return proportions.tango_interval(pairs.wins, pairs.losses, pairs.n, confidence=confidence)
    return paired.mean_interval(
        differences, confidence=confidence, bound=bound, clusters=pairs.clusters
    )


def test(pairs: Pairs, margin: float) -> Test:
    """Return the one-sided test of "the oriented difference is at most `margin`"."""
    from harness.stats import binary as proportions
    from harness.stats import paired

    if pairs.too_few:
        return Test(0.0, 1.0, margin, pairs.why_too_few)
    if pairs.labels is not None:
        return corrected.difference_test(pairs, margin)
    if pairs.corpus is not None:
        return pairs.corpus.difference.test(margin=margin, bound=pairs.metric.bound)
    # Beyond 1 there is no difference of 0/1 scores to test; only an undeclared range gets here.
    binary, differences = pairs.binary and abs(margin) < 1, pairs.differences
    if binary and pairs.clusters is not None:
        return paired.clustered_binary_test(
            [round(d) for d in differences], pairs.clusters, margin=margin
        )
    if binary:
        wins, losses = pairs.wins, pairs.losses
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
