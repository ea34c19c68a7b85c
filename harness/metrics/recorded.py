"""Scores that another tool recorded with each answer: no metric is run again."""

from __future__ import annotations

from dataclasses import replace

from tunegate.harness.contracts.metric import Metric, metric
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def _with_traits(used: Metric) -> Metric:
    """Return the metric with the direction and kind of values that its options state."""
    binary = bool(used.options.get("binary", False))
    return replace(
        used,
        higher_is_better=bool(used.options.get("higher_is_better", True)),
        binary=binary,
        range=(0.0, 1.0) if binary else used.range,
    )


@metric(label="recorded score", needs=CellKind.RECORDED, adapt=_with_traits)
def recorded(
    case: Case,
    completion: Completion,
    *,
    score: str,
    higher_is_better: bool = True,
    binary: bool = False,
    deterministic: bool = True,
) -> Score:
    """Take the score that another tool recorded with an answer, in a `results:` arm.

    Failed calls and scores that are empty or NaN are unscored, with the tool's reason.

    Known problems:
        Without `binary` or a `range`, no gate holds while a score is missing.

    Example:
        lm-eval logged `exact_match` after the filter `strict-match` as 1.0: with `score =
        "exact_match,strict-match"` the case scores 1.

    Options:
        score: The score's name in the tool's files; `tunegate results RUN` lists them.
        higher_is_better: False for scores such as toxicity.
        binary: Whether every score is 0 or 1, which allows exact tests. Other scores are
            unscored then.
        deterministic: False if equal answers may get unequal scores, as from a judge or for times.
            Other scores that do are refused.
    """
    scores = completion.scores or {}
    if score not in scores:
        there = ", ".join(scores) or "none"
        return Score.unscored(f"no score {score!r} was recorded; there are: {there}")
    value = scores[score]
    if value is None:
        return Score.unscored((completion.errors or {}).get(score) or "the tool left it unscored")
    if binary and value not in (0.0, 1.0):
        return Score.unscored(f"{value:g} is recorded where binary = true allows 0 and 1 only")
    return Score.of(value)
