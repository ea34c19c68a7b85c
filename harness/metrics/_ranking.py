"""Rankings as the metrics read them: a case's candidates by score, and those with one score tied.

The order of tied candidates is unknown, so each metric is its mean over all their orders (McSherry
and Najork, "Computing Information Retrieval Performance Measures Efficiently in the Presence of
Tied Scores", 2008), as in scikit-learn's `ndcg_score`. A model that scores all candidates alike
gains nothing by the order in which they are written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from tunegate.harness.contracts.metric import Check
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case


class UnusableRanking(ValueError):
    """The answer or the case cannot be scored; says why."""


def tied_groups(case: Case, completion: Completion) -> list[list[float]]:
    """Return the relevance of the candidates, best score first, in groups of equal scores.

    Raises:
        UnusableRanking: the case has no candidates, or the answer no score for each of them.
    """
    relevance, scores = relevance_of(case), completion.candidate_scores
    if scores is None:
        raise UnusableRanking("the answer has no scores of candidates")
    if not case.positive or not case.negative:
        raise UnusableRanking("the case has no candidates: write `positive` and `negative`")
    if len(scores) != len(relevance):
        raise UnusableRanking(f"{len(scores)} scores for {len(relevance)} candidates")
    ranked = sorted(zip(scores, relevance, strict=True), key=itemgetter(0), reverse=True)
    return [[grade for _, grade in tied] for _, tied in groupby(ranked, key=itemgetter(0))]


def relevance_of(case: Case) -> list[float]:
    """Return the relevance of each candidate in the order of the scores; 0 is not relevant."""
    grades = case.grades or (1.0,) * len(case.positive or ())
    return [*grades, *(0.0 for _ in case.negative or ())]


def check_ranking(name: str, *, cuts: bool = False) -> Check:
    """Return the check of a metric's options and cases.

    Args:
        name: The metric.
        cuts: Whether it is 1 wherever `k` takes in all candidates.
    """

    def check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
        k = options.get("k", 10)
        if k < 1:
            return [f"metric {name!r}: k={k}: must be 1 or more"]
        problems = [
            f"metric {name!r}: case {case.id!r} {problem}"
            for case in cases
            for problem in _case_problems(case)
        ]
        most = max((len(case.candidates) for case in cases), default=0)
        if cuts and 0 < most <= k:
            problems.append(
                f"metric {name!r}: k={k}, and no case has more than {most} candidates, so that it "
                "is always 1; lower k"
            )
        return problems

    return check


def _case_problems(case: Case) -> Iterator[str]:
    shared = sorted({*(case.positive or ())} & {*(case.negative or ())})
    if shared:
        yield f"has {shared[0][:40]!r} in `positive` and in `negative`; remove one"
    grades, count = case.grades, len(case.positive or ())
    if grades is not None and (len(grades) != count or not all(0 < g < math.inf for g in grades)):
        yield f"has grades={[*grades]}; write a number above 0 for each of its {count} `positive`"
