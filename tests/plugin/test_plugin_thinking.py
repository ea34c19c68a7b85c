"""Gates of models that think: thoughts are no answers, and broken thoughts are a regression."""

from __future__ import annotations

import json
from typing import Any

import pytest

TOML = """\
name = "demo"
cases = "cases.jsonl"

[[metrics]]
use = "exact_match"

[[metrics]]
use = "answer_given"

[[metrics]]
use = "thinking_valid"

[[gates]]
metric = "exact_match"
gain = 0.05

[[gates]]
metric = "thinking_valid"
tolerance = 0.10
"""
N = 60


def _gate(project: Any, base: list[str], tuned: list[str], *options: str) -> Any:
    """Judge two lists of completions to equal questions; return pytest's result."""
    cases = [{"id": f"c{i:03}", "prompt": f"Question {i}?", "expected": "Oslo"} for i in range(N)]
    project.raw_suite(TOML, cases)
    arms = []
    for name, texts in (("base", base), ("tuned", tuned)):
        lines = [json.dumps({"id": f"c{i:03}", "completion": t}) for i, t in enumerate(texts)]
        (project.path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        arms.append(f"--gate-{name}=replay:{project.path / name}.jsonl")
    return project.gate(*arms, *options)


def _gates(project: Any) -> dict[str, str]:
    return {gate["metric"]: gate["status"] for gate in project.verdict()["suites"][0]["gates"]}


@pytest.mark.parametrize(
    "form",
    [
        "<think>\nThe capital of Norway, case {i}.\n</think>\n\nOslo",
        "<|channel|>analysis<|message|>Norway, case {i}.<|end|><|start|>assistant<|channel|>final"
        "<|message|>Oslo",
    ],
)
def test_right_answers_behind_thoughts_ship(project: Any, form: str) -> None:
    """60 of 60 right answers against base's 20: SHIP, and the thoughts are valid."""
    tuned = [form.format(i=i) for i in range(N)]
    base = [text if i < 20 else text.replace("Oslo", "Rome") for i, text in enumerate(tuned)]

    result = _gate(project, base, tuned)

    assert result.ret == 0
    assert project.verdict()["verdict"] == "SHIP"
    assert _gates(project) == {"exact_match": "pass", "thinking_valid": "pass"}
    page = (project.run / "report.html").read_text(encoding="utf-8")
    assert '"thoughts":[["base (number of tokens not known, time not known)","' in page
    assert "Norway, case 37." in page


@pytest.mark.parametrize(
    "broken",
    ["Oslo", "<think>\n\n</think>\n\nOslo", "<think>" + "Wait, let me see. " * 40 + "</think>Oslo"],
    ids=["none", "empty", "repetition"],
)
def test_thoughts_that_collapse_while_answers_hold_are_blocked(project: Any, broken: str) -> None:
    """Every answer is right and better than base's; the thoughts before it are gone."""
    good = "<think>The capital of Norway, as I know from case {i}.</think>Oslo"
    base = [good.format(i=i) if i < 20 else "<think>Hm, no idea.</think>Rome" for i in range(N)]

    result = _gate(project, base, [broken] * N)

    assert result.ret == 1
    assert project.verdict()["verdict"] == "BLOCK"
    assert _gates(project) == {"exact_match": "pass", "thinking_valid": "fail"}


def test_where_base_does_not_think_the_guard_is_silent(project: Any) -> None:
    """No gate in the verdict, a skipped item in pytest; a suite without the metric ends alike."""
    result = _gate(project, ["Oslo"] * 20 + ["Rome"] * 40, ["Oslo"] * N)

    assert result.ret == 0
    assert _gates(project) == {"exact_match": "pass"}
    result.assert_outcomes(passed=1, skipped=1)
    assert "thinking_valid" not in (project.run / "summary.md").read_text(encoding="utf-8")


def test_thoughts_that_never_end_are_wrong_answers_and_not_dropped(project: Any) -> None:
    """60 answers of tuned are cut within the thoughts: scored 0 with that reason, none unscored."""
    base = ["<think>Norway.</think>Oslo"] * N
    result = _gate(project, base, ["<think>Norway, whose capital is"] * N)

    assert result.ret == 1
    suite = project.verdict()["suites"][0]
    assert suite["n_unscored"] == {"base": 0, "tuned": 0}
    rows = [
        json.loads(line)
        for line in (project.run / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    tuned = {row["metric"]: row for row in rows if row["arm"] == "tuned"}
    assert tuned["exact_match"]["value"] == 0
    assert tuned["exact_match"]["reason"] == "no answer: the thoughts had not ended"
    assert tuned["answer_given"]["value"] == 0
    assert tuned["thinking_valid"]["reason"] == "the thoughts did not end"
