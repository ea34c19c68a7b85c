"""Several judges of one completion: the median, which of verdicts is the majority."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.judgement import JudgementStatus
from harness.judging.juror import Outcome
from harness.records import Score

SPREAD = "jury_spread"
"""Part of a jury's score: its largest value minus its smallest."""


def combined(outcomes: Sequence[Outcome]) -> Score:
    """Return the score of all jurors together; one juror's own score where there is one.

    More than half of them must have given a value: else the completion is unscored, for the reason
    of the first who gave none.
    """
    given = [o.score for o in outcomes if o.score is not None and o.score.value is not None]
    if 2 * len(given) <= len(outcomes):
        return _unscored(outcomes)
    if len(outcomes) == 1:
        return given[0]
    values = [score.value for score in given if score.value is not None]
    parts = _medians([score.parts or {} for score in given])
    middle = statistics.median(values)
    nearest = min(given, key=lambda score: abs((score.value or 0.0) - middle))
    return Score.of(middle, nearest.reason, parts={**parts, SPREAD: max(values) - min(values)})


def _unscored(outcomes: Sequence[Outcome]) -> Score:
    failed = [o for o in outcomes if o.status is JudgementStatus.JUDGE_ERROR]
    if failed:
        return Score.unscored(f"judge_error: {failed[0].error}")
    return next(o.score for o in outcomes if o.score is not None and o.score.value is None)


def _medians(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in parts for name in one)
    return {n: statistics.median(one[n] for one in parts if n in one) for n in names}
