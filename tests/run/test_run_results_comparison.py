"""Two runs of another tool: which cases are paired, and what a score's comparison holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.results.recorded_results import write_rows
from tunegate.harness.contracts.result_set import ResultSet, read_results
from tunegate.harness.records.errors import UsageError
from tunegate.harness.run.results_comparison import (
    ScoreComparison,
    compare_task,
    refuse_unpaired,
)


def results(path: Path, *rows: dict[str, Any]) -> ResultSet:
    """Write rows and read them as results."""
    return read_results(f"results:{write_rows(path, list(rows))}")


def row(case: str, score: float | None, *, text: str = "", prompt: str = "") -> dict[str, Any]:
    """Return an answer to a case; its prompt is the case's own unless it is given."""
    return {
        "id": case,
        "prompt": prompt or f"question {case}",
        "completion": text or f"answer {score}",
        "score": score,
    }


def sole_score(base: ResultSet, tuned: ResultSet) -> ScoreComparison:
    (score,) = compare_task(base, tuned, "", ["score"])
    return score


def test_cases_without_both_scores_or_with_another_prompt_are_unpaired(tmp_path: Path) -> None:
    """Of q1 to q6, q3 has no score, q4 another prompt, q5 and q6 stand in one run."""
    base = results(
        tmp_path / "base.jsonl",
        *(row("q1", 0.25), row("q2", 1.0), row("q3", None), row("q4", 0.5), row("q5", 1.0)),
    )
    tuned = results(
        tmp_path / "tuned.jsonl",
        *(row("q1", 0.75), row("q2", 0.5), row("q3", 1.0)),
        *(row("q4", 1.0, prompt="another question"), row("q6", 1.0)),
    )

    score = sole_score(base, tuned)

    assert (score.delta.n, score.better, score.worse, score.unpaired) == (2, 1, 1, 4)
    assert score.delta.base == pytest.approx(0.625)
    assert score.delta.tuned == pytest.approx(0.625)


def test_equal_answers_with_unequal_scores_show_other_rules(tmp_path: Path) -> None:
    base = results(tmp_path / "base.jsonl", *(row(f"q{i}", 0.0, text="no") for i in range(20)))
    tuned = results(tmp_path / "tuned.jsonl", *(row(f"q{i}", 1.0, text="no") for i in range(20)))
    fair = results(tmp_path / "fair.jsonl", *(row(f"q{i}", 1.0, text="yes") for i in range(20)))

    assert "20 of 20 cases" in sole_score(base, tuned).unequal
    assert sole_score(base, fair).unequal == ""


def test_runs_without_a_common_case_or_score_are_refused(tmp_path: Path) -> None:
    """Nothing would be compared; the message says what each run has."""
    base = results(tmp_path / "base.jsonl", {"id": "q1", "score": 1})
    other = results(tmp_path / "other.jsonl", {"id": "p1", "score": 1})
    named = results(tmp_path / "named.jsonl", {"id": "q1", "scores": {"tone": 1}})

    with pytest.raises(UsageError, match="base has 'q1', tuned 'p1'"):
        refuse_unpaired(base, other)
    with pytest.raises(UsageError, match="base has score; tuned has tone"):
        refuse_unpaired(base, named)
