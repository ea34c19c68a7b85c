"""Normalized discounted cumulative gain of a ranking."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._ranking import (
    UnusableRanking,
    check_ranking,
    relevance_of,
    tied_groups,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(
    label="nDCG",
    range=(0.0, 1.0),
    requires=("positive", "negative"),
    check=check_ranking("ndcg"),
)
def ndcg(case: Case, completion: Completion, *, k: int = 10) -> Score:
    """Score how high the relevant candidates stand, with less weight for each further place.

    The sum of relevance / log2(1 + place) over the first `k` places, divided by that of the best
    order (Järvelin and Kekäläinen, 2002). Relevance is 1, or the case's `grades`, taken as they
    are: as in trec_eval and scikit-learn's `ndcg_score`, not 2^grade − 1. Tied candidates count as
    the mean of their orders.

    Known problems:
        With few candidates even a random order scores high: give each query ten or more.

    Example:
        One relevant candidate of three, in second place: 1 / log2(3) = 0.6309.

    Options:
        k: Places that count.
    """
    try:
        groups = tied_groups(case, completion)
    except UnusableRanking as problem:
        return Score.unscored(str(problem))
    best = sorted(relevance_of(case), reverse=True)
    # Two orders of additions may differ in the last digit.
    return Score.of(min(1.0, _gain(groups, k) / _gain([[grade] for grade in best], k)))


def _gain(groups: Sequence[Sequence[float]], k: int) -> float:
    """Return the discounted gain of the first k places."""
    total, before = 0.0, 0
    for group in groups:
        places = range(before, min(before + len(group), k))
        total += math.fsum(group) / len(group) * math.fsum(1 / math.log2(2 + at) for at in places)
        before += len(group)
    return total
