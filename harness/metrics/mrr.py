"""Reciprocal rank of the first relevant candidate."""

from __future__ import annotations

import math

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._ranking import UnusableRanking, check_ranking, tied_groups
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(
    label="MRR",
    range=(0.0, 1.0),
    requires=("positive", "negative"),
    check=check_ranking("mrr"),
)
def mrr(case: Case, completion: Completion, *, k: int = 10) -> Score:
    """Score 1 / place of the first relevant candidate; 0 if it is not among the first `k`.

    The mean over the queries is the mean reciprocal rank (MRR@k). Tied candidates count as the
    mean of their orders.

    Known problems:
        Only the first relevant candidate counts: gate `ndcg` or `recall` where users read on.

    Example:
        The first relevant candidate is in second place: 0.5.

    Options:
        k: Places that count.
    """
    try:
        groups = tied_groups(case, completion)
    except UnusableRanking as problem:
        return Score.unscored(str(problem))
    before = 0
    for group in groups:
        size, right = len(group), sum(grade > 0 for grade in group)
        if right:
            # Of all orders of a tie, those whose first relevant candidate is in this place.
            shares = (
                math.comb(size - at, right - 1) / math.comb(size, right) / (before + at)
                for at in range(1, min(size - right + 1, k - before) + 1)
            )
            return Score.of(math.fsum(shares))
        before += size
    return Score.of(0.0)
