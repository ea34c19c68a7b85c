"""Findings on answers: which rows would fail the suite's own gates, were they a model's answers.

Rows have no expected answer, so only metrics that score an answer by itself can say so: JSON by a
schema, a pattern, a length. The others are named in a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.trainers.row_checks.finding import Finding
from tunegate.trainers.row_checks.text_findings import RowTexts

if TYPE_CHECKING:
    from tunegate.harness.contracts.metric import Metric
    from tunegate.harness.suite import Suite


def failing_answers(suite: Suite, rows: Sequence[RowTexts]) -> list[Finding]:
    """Find rows whose answer is beyond a gate's bound; a finding per metric.

    The bound is the metric's worse value if its scores are 0 and 1, else the floor or ceiling.
    """
    findings = []
    for metric in filter(_scores_rows, suite.gated_metrics):
        bounds = [*_bounds(suite, metric)]
        failed = [*_failed(metric, bounds, rows)] if bounds else []
        if failed:
            reason = next((f" ({why})" for _, why in failed if why), "")
            findings.append(
                Finding(
                    f"suite {suite.name} would fail these answers by {metric.name}{reason}",
                    "correct or drop them: tuned learns to answer as they do",
                    [where for where, _ in failed],
                )
            )
    return findings


def unscored_note(suite: Suite) -> str | None:
    """Return a note on the gated metrics that cannot score rows; None if all can."""
    names = [
        metric.name
        for metric in suite.gated_metrics
        if not _scores_rows(metric) or not any(_bounds(suite, metric))
    ]
    if not names:
        return None
    return (
        f"suite {suite.name}: {', '.join(names)} not scored on rows: rows have no expected "
        "answer, judge, or bound for a single answer"
    )


def _scores_rows(metric: Metric) -> bool:
    return metric.judge is None and metric.needs_prompt_only


def _bounds(suite: Suite, metric: Metric) -> Iterator[tuple[float, int]]:
    """Yield (bound, side) of a single answer; an answer fails if side · (score - bound) < 0."""
    if metric.binary:
        yield (1.0, 1) if metric.higher_is_better else (0.0, -1)
        return
    sides = {"floor": 1, "ceiling": -1}
    for gate in suite.gates:
        if gate.metric == metric.name and gate.kind in sides:
            yield float(gate.margin), sides[gate.kind]


def _failed(
    metric: Metric, bounds: Sequence[tuple[float, int]], rows: Sequence[RowTexts]
) -> Iterator[tuple[str, str | None]]:
    """Yield file and line, and the metric's reason, of each row beyond a bound.

    Rows with tools are left out: their answers may be calls, which are no text.
    """
    for row in rows:
        if row.tools:
            continue
        case = Case(id=row.where, prompt=row.asked or "?")
        score = metric(case, Completion(text=row.answer))
        value = score.value
        if value is not None and any(side * (value - bound) < 0 for bound, side in bounds):
            yield row.where, score.reason
