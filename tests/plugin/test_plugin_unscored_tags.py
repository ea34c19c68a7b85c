"""Gates on a tag whose answers of tuned never came: such a run never ships."""

from __future__ import annotations

from typing import Any

import pytest

COMMON, RARE = 60, 205
SUITE = """
name = "demo"
cases = "cases.jsonl"
max_unscored = {most}

[[metrics]]
use = "exact_match"

[[metrics]]
use = "length"

[[metrics]]
use = "token_f1"

[[gates]]
metric = "exact_match"
tag = "common"
tolerance = 0.1
{gates}
"""
EVERY_KIND = """
[[gates]]
metric = "exact_match"
tag = "rare"
floor = 0.5
gain = 0
tolerance = 0.1

[[gates]]
metric = "length"
tag = "rare"
ceiling = 50
floor_mode = "certified"
tolerance = "20%"
ratio_at_most = 1.5

[[gates]]
metric = "token_f1"
tag = "rare"
severe_drop = 0.1
"""
WITHOUT_RANGE = """
[[gates]]
metric = "length"
tag = "rare"
tolerance = 10
"""


def _run(project: Any, gates: str, *, most: float, answered: int) -> Any:
    """Judge a fine-tune that answers as base does, and only so many of the rare cases."""
    tags = ["common"] * COMMON + ["rare"] * RARE
    cases = [
        {"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes", "tags": [tag]}
        for i, tag in enumerate(tags)
    ]
    project.raw_suite(SUITE.format(most=most, gates=gates), cases)
    failed = {case["id"]: "HTTP 500" for case in cases[COMMON + answered :]}
    right = COMMON + RARE
    base, tuned = (
        project.model(name, right, n=right, **more)
        for name, more in (("base", {}), ("tuned", {"fail": failed}))
    )
    return project.gate(f"--gate-base={base}", f"--gate-tuned={tuned}")


@pytest.mark.parametrize(("most", "code", "status"), [(0.05, 13, "error"), (1.0, 10, "undecided")])
def test_a_tag_without_any_answer_of_tuned_never_ships(
    project: Any, most: float, code: int, status: str
) -> None:
    """60 common answers hold, 205 rare ones are missing: no gate of theirs holds or is left out."""
    result = _run(project, EVERY_KIND, most=most, answered=0)
    common, *rare = project.verdict()["suites"][0]["gates"]

    assert result.ret == code
    assert common["status"] == "pass"
    assert [gate["tag"] for gate in rare] == ["rare"] * 7
    assert [(gate["status"], gate["advisory"]) for gate in rare] == [(status, False)] * 7
    assert "rare" in project.verdict()["sentence"]


def test_a_tag_with_too_few_scores_to_judge_by_counts_all_the_same(project: Any) -> None:
    """199 of 205 scores without a range: one less than a gate takes, within the 5 % allowed."""
    result = _run(project, WITHOUT_RANGE, most=0.05, answered=199)
    rare = project.verdict()["suites"][0]["gates"][1]

    assert result.ret == 10
    assert (rare["n"], rare["status"], rare["advisory"]) == (199, "undecided", False)
    assert rare["reason"] == "unscored"
    assert "199 cases of 205" in rare["sentence"]
