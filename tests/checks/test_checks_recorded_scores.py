"""Scores of other tools that a suite's metrics cannot compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.results.recorded_results import write_rows, write_suite
from tunegate.harness.checks.recorded_scores import check_recorded_scores
from tunegate.harness.models.results import results
from tunegate.harness.records.errors import UsageError
from tunegate.harness.suite import load_suite


def scored(path: Path, values: Sequence[float]) -> str:
    rows = [{"id": f"r{i}", "score": value} for i, value in enumerate(values)]
    return str(write_rows(path, rows))


def scale_problem(
    tmp_path: Path, base: Sequence[float], tuned: Sequence[float], span: str = ""
) -> str:
    """Return why two runs' scores are refused; empty if they are not."""
    paths = {n: scored(tmp_path / f"{n}.jsonl", v) for n, v in (("base", base), ("tuned", tuned))}
    suite = load_suite(write_suite(tmp_path, Path(paths["base"]), options=span))
    arms = {name: results(path) for name, path in paths.items()}
    try:
        check_recorded_scores([suite], arms)
    except UsageError as problem:
        return str(problem)
    return ""


UNIT = [i / 40 for i in range(41)]


def test_scores_on_two_scales_are_refused_with_both_ranges(tmp_path: Path) -> None:
    percent = [100 * value for value in UNIT]
    told = scale_problem(tmp_path, UNIT, percent)

    assert "'score' is between 0 and 1 in base and between 0 and 100 in tuned" in told
    assert "'score' is between 0 and 100 in base and between 0 and 1" in scale_problem(
        tmp_path, percent, UNIT
    )
    assert "between 0 and 1 in base and between 0 and 5 in tuned" in scale_problem(
        tmp_path, UNIT, [5 * value for value in UNIT]
    )
    # That both are percentages does not make it so.
    assert "between 0 and 1 in base" in scale_problem(tmp_path, UNIT, percent, "range = [0, 100]")


def test_scores_on_one_scale_are_compared(tmp_path: Path) -> None:
    assert scale_problem(tmp_path, [value / 2 for value in UNIT], UNIT) == ""
    assert scale_problem(tmp_path, [0.0] * 41, UNIT) == ""
    assert scale_problem(tmp_path, UNIT, [3 * value for value in UNIT]) == ""
    counts = [float(i % 9) for i in range(41)]
    assert scale_problem(tmp_path, [value % 2 for value in counts], counts, "range = [0, 20]") == ""
    assert scale_problem(tmp_path, [value / 20 for value in UNIT], UNIT, "range = [0, 1]") == ""
