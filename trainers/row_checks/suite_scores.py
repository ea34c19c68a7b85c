"""Findings on answers: which rows would fail the suite's own gates, were they a model's answers.

Rows have no expected answer, so only metrics that score an answer by itself can say so: JSON by a
schema, a pattern, a length. The others are named in a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.trainers.row_checks.finding import Finding
from tunegate.trainers.row_checks.text_findings import RowTexts

if TYPE_CHECKING:
    from tunegate.harness.contracts.metric import Metric
    from tunegate.harness.suite import Suite


def failing_answers(suite: Suite, rows: Sequence[RowTexts]) -> list[Finding]:
    """Find rows whose answer is beyond a gate's bound; a finding per metric.

    A metric with scores of 0 and 1 fails at the worse one, others beyond a floor or ceiling.
    """
    findings = []
    for metric in (metric for metric in suite.gated_metrics if _scores_rows(suite, metric)):
        failed = [*_failed(suite, metric, rows)]
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
    names = [metric.name for metric in suite.gated_metrics if not _scores_rows(suite, metric)]
    if not names:
        return None
    return (
        f"suite {suite.name}: {', '.join(names)} not scored on rows: rows have no expected "
        "answer, judge, or bound for a single answer"
    )


def _scores_rows(suite: Suite, metric: Metric) -> bool:
    """Return whether a metric scores an answer alone, and a bound says which scores fail."""
    bounded = metric.binary or any(_level_gates(suite, metric))
    return metric.judge is None and metric.needs_prompt_only and bounded


def _level_gates(suite: Suite, metric: Metric) -> Iterator[Gate]:
    """Yield the gates on the level of tuned alone, such as floors."""
    for gate in suite.gates:
        if gate.metric == metric.name and gate_kind(gate.kind).reads_level:
            yield gate


def _failed(
    suite: Suite, metric: Metric, rows: Sequence[RowTexts]
) -> Iterator[tuple[str, str | None]]:
    """Yield file and line, and the metric's reason, of each row that fails.

    Rows with tools are left out: their answers may be calls, which are no text.
    """
    worst = 0.0 if metric.higher_is_better else 1.0
    results = [_as_result(gate, metric) for gate in _level_gates(suite, metric)]
    for row in rows:
        if row.tools:
            continue
        case = Case(id=row.where, prompt=row.asked or "?")
        score = metric(case, Completion(text=row.answer))
        value = score.value
        if value is None:
            continue
        fails = (
            value == worst
            if metric.binary
            else any(gate_kind(of.kind).contradiction(of, None, value) > 0 for of in results)
        )
        if fails:
            yield row.where, score.reason


def _as_result(gate: Gate, metric: Metric) -> GateResult:
    """Return a gate that was decided on nothing yet, to ask its kind about single scores."""
    return GateResult(
        metric=gate.metric,
        kind=gate.kind,
        status=GateStatus.UNDECIDED,
        sentence="",
        higher_is_better=metric.higher_is_better,
        confidence=gate.confidence,
        method="",
        margin=gate.margin,
        options=gate.options,
        n=0,
    )
