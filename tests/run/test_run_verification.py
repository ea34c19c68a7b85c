"""A stored run that was edited by hand is refused by whoever would believe it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.cli.gate import run_gate
from tunegate.harness.records.errors import UsageError
from tunegate.harness.run.verification import load_verified

SUITE = """name = "demo"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
floor = 0.2
tolerance = 0.1
"""


def _edit(file: Path, change: Callable[[Any], Any]) -> None:
    record = json.loads(file.read_text(encoding="utf-8"))
    change(record)
    file.write_text(json.dumps(record), encoding="utf-8")


def _edit_lines(file: Path, change: Callable[[Any], Any]) -> None:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        change(row)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _ship(run: Path) -> None:
    _edit(run / "verdict.json", lambda v: v.update(verdict="SHIP"))


def _ship_everywhere(run: Path) -> None:
    def change(verdict: Any) -> None:
        verdict.update(verdict="SHIP", sentence="no worse")
        for suite in verdict["suites"]:
            suite["verdict"] = "SHIP"
            for gate in suite["gates"]:
                gate.update(status="pass", reason=None)

    _edit(run / "verdict.json", change)


def _raise_a_mean(run: Path) -> None:
    _edit(run / "verdict.json", lambda v: v["suites"][0]["gates"][0].update(tuned=0.99))


def _rewrite_the_sentence(run: Path) -> None:
    _edit(run / "verdict.json", lambda v: v.update(sentence="no worse: both gates hold"))


def _remove_a_gate(run: Path) -> None:
    _edit(run / "verdict.json", lambda v: v["suites"][0]["gates"].pop())


def _remove_all_suites(run: Path) -> None:
    _edit(run / "verdict.json", lambda v: v.update(verdict="SHIP", suites=[]))


def _name_another_model(run: Path) -> None:
    _edit(run / "verdict.json", lambda v: v["arms"]["tuned"].update(spec="another"))


def _raise_the_scores(run: Path) -> None:
    _edit_lines(
        run / "scores.jsonl", lambda row: row.update(value=1.0 if row["arm"] == "tuned" else 0.0)
    )


def _lower_the_floor(run: Path) -> None:
    _edit(run / "manifest.json", lambda m: m["suites"][0]["gates"][0].update(margin=0.01))


def _allow_more_unscored(run: Path) -> None:
    _edit(run / "manifest.json", lambda m: m["suites"][0].update(max_unscored=0.9))


def _group_other_prompts(run: Path) -> None:
    _edit(run / "manifest.json", lambda m: m["suites"][0].update(equal_prompts=[["c000"]]))


def _change_the_cases(run: Path) -> None:
    _edit_lines(run / "cases.jsonl", lambda row: row["case"].update(expected="no"))


EDITS = {
    _ship: "verdict.json: says SHIP, and the scores give BLOCK",
    _ship_everywhere: "verdict.json: says SHIP, and the scores give BLOCK",
    _raise_a_mean: "exact_match floor: says tuned 0.99, and the scores give 0.125",
    _rewrite_the_sentence: "sentence is not what the run's other files give",
    _remove_a_gate: "lists other suites or gates than manifest.json",
    _remove_all_suites: "says SHIP and judges no suite",
    _name_another_model: "arms is not what the run's other files give",
    _raise_the_scores: "verdict.json: says BLOCK, and the scores give SHIP",
    _lower_the_floor: "exact_match floor: says fail, and the scores give pass",
    _allow_more_unscored: "manifest.json: its gates or metrics are not those of ",
    _group_other_prompts: "manifest.json: its gates or metrics are not those of ",
    _change_the_cases: "cases.jsonl: its cases are not those of ",
}


@pytest.fixture(name="blocked")
def _blocked(project: Any) -> Path:
    """Return a run that ends in BLOCK."""
    cases = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(40)]
    project.raw_suite(SUITE, cases)
    assert run_gate(["suites", *project.models(38, 5), f"--run-dir={project.run}"]) == 1
    return Path("run")


def test_an_edited_run_is_refused(blocked: Path) -> None:
    suites = [Path("suites/demo/suite.toml")]
    _, notes = load_verified(blocked, suites=suites)
    assert notes == ()
    for edit, message in EDITS.items():
        copy = Path(edit.__name__)
        shutil.copytree(blocked, copy)
        edit(copy)
        with pytest.raises(UsageError) as caught:
            load_verified(copy, suites=suites)
        assert message in str(caught.value), edit.__name__


def test_scores_that_agree_with_the_verdict_and_not_with_the_answers(blocked: Path) -> None:
    from tunegate.harness.decision.verdict.redecide import decide_again
    from tunegate.harness.records.files import record_json
    from tunegate.harness.records.run_folder import Run

    _raise_the_scores(blocked)
    verdict = decide_again(Run.load(blocked))
    assert verdict.verdict == "SHIP"
    (blocked / "verdict.json").write_text(record_json(verdict), encoding="utf-8")

    with pytest.raises(UsageError, match=r"scores.jsonl: exact_match of (base|tuned) on 'c0"):
        load_verified(blocked, suites=[Path("suites/demo/suite.toml")])


def test_unless_its_suite_is_named_the_scores_are_taken_as_stored(blocked: Path) -> None:
    _, notes = load_verified(blocked)
    assert notes == ("scores taken as stored: demo: --suite DIR computes them again",)

    _ship(blocked)
    with pytest.raises(UsageError, match="says SHIP, and the scores give BLOCK"):
        load_verified(blocked)


def test_no_command_believes_an_edited_verdict(blocked: Path) -> None:
    """report, promote, compare and card refuse it; history skips it and says why."""
    _ship_everywhere(blocked)
    Path("adapter").mkdir()
    commands = (["report", "run"], ["promote", "run"], ["compare", "run", "run"],
                ["card", "run", "--adapter", "adapter"])  # fmt: skip

    for words in commands:
        with pytest.raises(UsageError, match="says SHIP, and the scores give BLOCK"):
            CliRunner().invoke(app, words, catch_exceptions=False)
    history = CliRunner().invoke(app, ["history", "--runs", "."], catch_exceptions=False)
    assert "skipped run: verdict.json: says SHIP, and the scores give BLOCK" in history.output
    assert not Path("shipped.jsonl").exists()
