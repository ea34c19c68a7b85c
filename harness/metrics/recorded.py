"""Scores that another tool recorded with each answer: no metric is run again."""

from __future__ import annotations

from dataclasses import replace

from tunegate.harness.metric import Metric, metric
from tunegate.harness.records.cases import Case, CellKind, Completion, Score


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
) -> Score:
    """Take the score that another tool recorded with an answer, in a `results:` arm.

    What it does:
        The score named `score` is taken as it is. An answer whose call failed, or whose score is
        empty, NaN or no number, is unscored with the tool's reason.

    Why:
        A judge that was paid for, a log-likelihood task or a test in a sandbox is not repeated; the
        paired comparison needs no more than a score for each sample.

    Known problems:
        The score means what the other tool computed. Its extraction, its judge and its defaults are
        not checked beyond what the files state about them. Without `binary` or `range = [0, 1]` in
        the suite, a missing score is imputed by the worst one that was observed.

    Example:
        lm-eval logged `exact_match` after the filter `strict-match` as 1.0 for a document: with
        `score = "exact_match,strict-match"` the case scores 1.

    Options:
        score: The score's name as the tool writes it, such as `exact_match,strict-match`.
            `tunegate results RUN` lists those of a run.
        higher_is_better: Set to false for scores such as toxicity.
        binary: Whether every score is 0 or 1, for the exact tests of proportions. Any other score
            is then unscored.
    """
    found = completion.scores or {}
    if score not in found:
        there = ", ".join(found) or "none"
        return Score.unscored(f"no score {score!r} was recorded; there are: {there}")
    value = found[score]
    if value is None:
        return Score.unscored((completion.errors or {}).get(score) or "the tool left it unscored")
    if binary and value not in (0.0, 1.0):
        return Score.unscored(f"{value:g} is recorded where binary = true allows 0 and 1 only")
    return Score.of(value)
