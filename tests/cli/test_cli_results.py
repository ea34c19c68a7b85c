"""`tunegate results` and `tunegate suite new --from results:`: a look, and a suite to gate with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.results.recorded_results import LM_EVAL, RECORDED, write_rows
from tests.results.test_results_gate import gate, rows, sole
from tunegate.harness.cli import app
from tunegate.harness.records.errors import NotComparable, UsageError
from tunegate.harness.suite import load_suite

BASE, TUNED = LM_EVAL / "base", LM_EVAL / "tuned"


def run(*args: Any) -> str:
    """Run a command in this process; errors of ours pass through, as to `main`."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_one_run_is_listed_with_what_its_scores_are() -> None:
    output = run("results", BASE)

    assert "lm-eval 0.4.13, ink-base, 24 cases" in output
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "sums: 12 cases" in lines
    assert "exact_match,strict 0 or 1, higher is better" in lines
    assert any(line.startswith("word_perplexity,none no number: ") for line in lines)


def test_two_runs_are_compared_by_pairs_and_no_verdict_is_given() -> None:
    output = run("results", f"results:{BASE}", f"results:{TUNED}")

    (line,) = [one for one in output.splitlines() if "exact_match,strict" in one]
    assert "base 0.4167, tuned 0.5833, difference +0.1667" in line
    assert "12 pairs" in line
    assert "prompts: the same in both runs" in output
    assert "no verdict" in output
    for name in ("SHIP", "BLOCK"):
        assert name not in output


def test_the_interval_is_that_of_the_gate(tmp_path: Path) -> None:
    base = write_rows(tmp_path / "base.jsonl", rows(1, 0.6))
    tuned = write_rows(tmp_path / "tuned.jsonl", rows(2, 0.9))
    run("suite", "new", tmp_path / "suites" / "found", "--from", f"results:{base}")

    result = sole(gate(tmp_path / "suites" / "found", base, tuned))

    assert f"[{result.low:+.4g}, {result.high:+.4g}]" in run("results", base, tuned)


@pytest.mark.parametrize(
    ("tolerance", "claim"),
    [("0.05", "proven"), ("0.3", "proven")],
)
def test_a_tolerance_is_proven_or_not(tmp_path: Path, tolerance: str, claim: str) -> None:
    """Tuned is better by three of ten; exchanged, the loss is more than 0.05 and not than 0.9."""
    base = write_rows(tmp_path / "base.jsonl", rows(1, 0.6))
    tuned = write_rows(tmp_path / "tuned.jsonl", rows(2, 0.9))

    assert f"at most {tolerance}: {claim}" in run("results", base, tuned, "--tolerance", tolerance)
    assert "at most 0.05: refuted" in run("results", tuned, base, "--tolerance", "0.05")


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotComparable, match="few-shot"):
        run("results", BASE, LM_EVAL / "one_shot")
    with pytest.raises(NotComparable, match="identical"):
        run("results", BASE, shutil.copytree(BASE, tmp_path / "copy"))
    with pytest.raises(UsageError, match="exact_match,strict"):
        run("results", BASE, TUNED, "--score", "exact_match,strikt")


def test_equal_answers_with_unequal_scores_are_pointed_out(tmp_path: Path) -> None:
    found = rows(1, 0.6)
    base = write_rows(tmp_path / "base.jsonl", found)
    tuned = write_rows(tmp_path / "tuned.jsonl", [row | {"score": 1} for row in found])
    wrong = sum(row["score"] == 0 for row in found)

    output = run("results", base, tuned)

    assert f"equal answers have unequal scores in {wrong} of 200 cases: 'r" in output


def test_what_a_judge_gave_is_written_into_the_suite(tmp_path: Path) -> None:
    """Inspect's `model_graded_qa`, and `match` beside it."""
    folder = tmp_path / "suites" / "graded"
    run("suite", "new", folder, "--from", f"results:{RECORDED / 'inspect' / 'graded_by_base'}")
    other = tmp_path / "suites" / "matched"
    run("suite", "new", other, "--from", f"results:{RECORDED / 'inspect' / 'base'}")

    assert "deterministic = false" in (folder / "suite.toml").read_text(encoding="utf-8")
    assert "deterministic" not in (other / "suite.toml").read_text(encoding="utf-8")
    assert load_suite(folder).metrics[0].options["deterministic"] is False


def test_the_way_to_a_verdict_names_the_run_that_was_given() -> None:
    both = RECORDED / "promptfoo" / "results.json"

    output = run("results", f"{both}#base", f"results:{both}#tuned")

    assert f"--from 'results:{both}#base'`" in output


def test_a_suite_is_written_that_loads_and_gates(tmp_path: Path) -> None:
    folder = tmp_path / "suites" / "sums"

    run("suite", "new", folder, "--from", f"results:{BASE}", "--task", "sums")
    suite = load_suite(folder)

    assert len(suite.cases) == 12
    assert {m.name: m.options["score"] for m in suite.metrics} == {
        "exact_match_flexible": "exact_match,flexible",
        "exact_match_strict": "exact_match,strict",
    }
    assert all(m.binary for m in suite.metrics)
    assert sole(gate(folder, BASE, TUNED)).n == 11  # one question stands twice


@pytest.mark.parametrize(("cases", "tolerance"), [(59, 0.05), (58, 0.1), (149, 0.02), (148, 0.05)])
def test_the_written_tolerance_is_one_that_the_cases_can_prove(
    tmp_path: Path, cases: int, tolerance: float
) -> None:
    """149 unchanged cases prove 2 points and 59 prove 5: what `suite check` says of fewer."""
    rows = [{"id": f"r{i}", "prompt": f"question {i}", "score": i % 2} for i in range(cases)]
    path = write_rows(tmp_path / "scores.jsonl", rows)

    run("suite", "new", tmp_path / "suites" / "table", "--from", f"results:{path}")

    (gate,) = load_suite(tmp_path / "suites" / "table").gates
    assert gate.margin == tolerance
    run("suite", "check", tmp_path / "suites" / "table")


def test_the_range_is_the_tools_and_never_that_of_the_scores_seen(tmp_path: Path) -> None:
    """Scores from 0.25 to 0.75 in a table bound nothing; HELM's f1_score is a share."""
    found = [{"id": f"r{i}", "score": 0.25 + 0.05 * i} for i in range(11)]
    path = write_rows(tmp_path / "scores.jsonl", found)
    run("suite", "new", tmp_path / "suites" / "table", "--from", f"results:{path}")
    (metric,) = load_suite(tmp_path / "suites" / "table").metrics
    text = (tmp_path / "suites" / "table" / "suite.toml").read_text(encoding="utf-8")
    assert metric.range is None
    assert "0.25 to 0.75 were recorded" in text

    folder = tmp_path / "helm"
    shutil.copytree(next((RECORDED / "helm").glob("*base*")), folder)
    stats = folder / "per_instance_stats.json"
    stats.write_text(
        stats.read_text()
        .replace('"quasi_exact_match"', '"f1_score"')
        .replace('"mean": 1.0', '"mean": 0.5')
    )
    run("suite", "new", tmp_path / "suites" / "helm", "--from", f"results:{folder}")
    ranges = {m.name: m.range for m in load_suite(tmp_path / "suites" / "helm").metrics}
    assert ranges["f1_score"] == (0.0, 1.0)
    assert ranges["logprob"] is None or ranges["logprob"] == (0.0, 1.0)


def test_tasks_with_other_scores_take_a_suite_each(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"different scores.*--task"):
        run("suite", "new", tmp_path / "all", "--from", f"results:{BASE}")
    with pytest.raises(UsageError, match=r"no task 'sum'.*sums"):
        run("suite", "new", tmp_path / "all", "--from", f"results:{BASE}", "--task", "sum")
    assert not (tmp_path / "all").exists()


def test_epochs_are_written_as_samples(tmp_path: Path) -> None:
    """Inspect's three epochs are `samples = 3`."""
    folder = tmp_path / "epochs"

    run("suite", "new", folder, "--from", f"results:{RECORDED / 'inspect' / 'epochs'}")

    assert load_suite(folder).generation.samples == 3
