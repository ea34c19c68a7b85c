"""A user's own pass-or-fail function that declares neither a range nor `binary`."""

from __future__ import annotations

import json
from typing import Any

import pytest

FUNCTION = """
def good(case, completion):
    return 1.0 if "yes" in completion.text else 0.0
"""
N = 60
SUITE = """
name = "own"
cases = "cases.jsonl"

[[metrics]]
use = "undeclared_function:good"

[[gates]]
metric = "good"
{gate}
"""


@pytest.mark.parametrize(
    ("gate", "method"),
    [
        ("tolerance = 0.1", "Tango score"),
        ('tolerance = "20%"', "paired ratio"),
        ("gain = 0.01", "Tango score"),
        ('floor = 0.5\nfloor_mode = "certified"', "Clopper-Pearson"),
        ('tag = "odd"\ntolerance = 0.2', "Tango score"),
    ],
)
def test_its_gates_count_and_are_those_of_proportions(
    project: Any, monkeypatch: pytest.MonkeyPatch, gate: str, method: str
) -> None:
    """60 cases, base right on 45 and tuned on 54: each kind of gate holds and none is advisory."""
    folder = project.path / "suites" / "own"
    folder.mkdir(parents=True)
    (project.path / "undeclared_function.py").write_text(FUNCTION, encoding="utf-8")
    monkeypatch.syspath_prepend(str(project.path))
    (folder / "suite.toml").write_text(SUITE.format(gate=gate), encoding="utf-8")
    rows = [
        {"id": f"c{i}", "prompt": f"{i}?", "tags": ["odd"] if i % 2 else ["even"]} for i in range(N)
    ]
    (folder / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    options = []
    for arm, wrong in (("base", 4), ("tuned", 10)):
        answers = [{"id": f"c{i}", "completion": "yes" if i % wrong else "no"} for i in range(N)]
        path = project.path / f"{arm}.jsonl"
        path.write_text("\n".join(map(json.dumps, answers)), encoding="utf-8")
        options.append(f"--gate-{arm}=replay:{path}")

    result = project.gate(*options)

    (found,) = project.verdict()["suites"][0]["gates"]
    assert result.ret == 0
    assert method in found["method"]
    assert not found["advisory"]
    assert found["status"] == "pass"


def test_a_run_begins_with_the_gates_that_are_advisory(project: Any) -> None:
    """60 lengths are too few for a gate: told in one line before a model is opened."""
    toml = 'name = "demo"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
    toml += '[[metrics]]\nuse = "length"\n[[gates]]\nmetric = "length"\ntolerance = "5%"\n'
    toml += '[[gates]]\nmetric = "exact_match"\ngain = 0\n'
    rows = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(N)]
    project.raw_suite(toml, rows)
    options = [f"--gate-{arm}={project.model(arm, right, n=N)}" for arm, right in
               (("base", 20), ("tuned", 55))]  # fmt: skip

    said = project.gate(*options).stderr.str()

    note = "tunegate: demo: length: scores without a range gate from 200 independent cases on"
    assert said.count(note) == 1
    assert said.index(note) < said.index("tunegate: opening base")
