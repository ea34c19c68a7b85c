"""Share of the relevant candidates among the first places."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._ranking import UnusableRanking, check_ranking, tied_groups
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(
    label="recall of relevant candidates",
    range=(0.0, 1.0),
    requires=("positive", "negative"),
    check=check_ranking("recall", cuts=True),
)
def recall(case: Case, completion: Completion, *, k: int = 10) -> Score:
    """Score the share of the relevant candidates that are among the first `k`.

    Of candidates tied around place `k` the share counts that fits, as the mean of their orders.

    Known problems:
        A case with more than `k` relevant candidates cannot reach 1. It is recall among the
        candidates of the case, not in a whole index.

    Example:
        Two relevant candidates, in places 1 and 4, and `k = 3`: 0.5.

    Options:
        k: Places that count.
    """
    try:
        groups = tied_groups(case, completion)
    except UnusableRanking as problem:
        return Score.unscored(str(problem))
    relevant, before = 0.0, 0
    for group in groups:
        fits = min(len(group), max(0, k - before))
        relevant += sum(grade > 0 for grade in group) * fits / len(group)
        before += len(group)
    return Score.of(relevant / len(case.positive or ()))
