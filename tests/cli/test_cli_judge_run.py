"""tunegate judge run: a stored run judged again, its completions and other scores untouched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.run_folder import Run

SUITE = """\
name = "civil"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
floor = 0.2
"""
JUDGED = """\
[[metrics]]
use = "rubric"
name = "apology"
criteria = "Apologises."
[[gates]]
metric = "apology"
tolerance = 0.05
"""
RULES = [{"contains": "yes\n<</completion", "reply": {"score": 5}}]


@pytest.fixture(name="finished")
def _finished(project: Any) -> Any:
    """A project with a run that no judge has seen: base says yes to 6 of 20, tuned to 19."""
    write(project, SUITE)
    assert project.gate(*project.models(base=6, tuned=19)).ret == 0
    return project


def write(project: Any, toml: str, n: int = 20) -> None:
    """Write the suite."""
    cases = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(n)]
    project.raw_suite(toml, cases, "civil")


def judge_of(folder: Path, name: str = "judge", low: int = 1) -> str:
    """Write a judge that gives 5 to `yes` and `low` to the rest; return its spec."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"rules": RULES, "default": {"score": low}}), encoding="utf-8")
    return f"scripted:{path}"


def test_a_metric_that_was_added_since_is_judged(finished: Any) -> None:
    """No model is named and none runs: levels 0.3 and 0.95, other scores and cells as before."""
    write(finished, SUITE + JUDGED)
    before = Run.load(finished.run)
    cells = (finished.run / "cells.jsonl").read_bytes()
    for script in finished.path.glob("*.json"):
        script.unlink()  # the models are gone

    result = finished.tunegate(
        "judge", "run", "run", "--suite", "suites", "--judge", judge_of(finished.path)
    )

    assert result.ret == 0, result.stderr.str()
    run = Run.load(finished.run)
    gate = next(g for s in run.verdict.suites for g in s.gates if g.metric == "apology")
    assert (gate.base, gate.tuned, gate.advisory) == (0.3, 0.95, True)
    assert run.verdict.verdict == before.verdict.verdict
    assert (finished.run / "cells.jsonl").read_bytes() == cells
    assert [r for r in run.scores if r.metric == "exact_match"] == list(before.scores)
    assert (
        "40 judgements, 0 of them failed\ncivil apology: 33 calls to scripted:"
        in result.stdout.str()
    )
    assert "apology" in (finished.run / "report.html").read_text(encoding="utf-8")


def test_another_judge_replaces_the_first(finished: Any) -> None:
    """Scores, judgements and the manifest are the second judge's; again costs nothing."""
    write(finished, SUITE + JUDGED)
    finished.tunegate(
        "judge", "run", "run", "--suite", "suites", "--judge", judge_of(finished.path)
    )
    kinder = judge_of(finished.path, "kinder", low=3)

    finished.tunegate("judge", "run", "run", "--suite", "suites", "--judge", kinder)
    again = finished.tunegate("judge", "run", "run", "--suite", "suites", "--judge", kinder)

    run = Run.load(finished.run)
    assert {j.judge for j in run.judgements} == {kinder}
    assert {j.value for j in run.judgements} == {0.5, 1.0}
    assert [j["spec"] for j in run.manifest.judges] == [kinder]
    assert "was not asked: all of its replies were stored" in again.stdout.str()


def judge_into(finished: Any, folder: str) -> Any:
    """Judge the run again, into a copy of it."""
    words = f"judge run run --suite suites -o {folder} --judge".split()
    return finished.tunegate(*words, judge_of(finished.path))


def test_a_copy_leaves_the_run_as_it_was(finished: Any) -> None:
    write(finished, SUITE + JUDGED)
    before = (finished.run / "verdict.json").read_bytes()

    result = judge_into(finished, "judged")

    assert result.ret == 0
    assert (finished.run / "verdict.json").read_bytes() == before
    assert len(Run.load(finished.path / "judged").judgements) == 40


def test_judgements_of_a_run_can_be_replayed(finished: Any) -> None:
    """`replay:RUN` gives the same scores without the judge."""
    write(finished, SUITE + JUDGED)
    judge_into(finished, "first")

    result = finished.tunegate(
        "judge", "run", "run", "--suite", "suites", "--judge", "replay:first"
    )

    assert result.ret == 0
    first, again = Run.load(finished.path / "first"), Run.load(finished.run)
    assert [(r.case, r.arm, r.value) for r in again.scores] == [
        (r.case, r.arm, r.value) for r in first.scores
    ]


@pytest.mark.parametrize(
    ("toml", "more", "said"),
    [
        (SUITE, (), "no metric of its suites asks a judge"),
        (SUITE + JUDGED + '[generation]\nsystem = "x"\n', (), "[generation] changed since"),
        (SUITE + JUDGED, ("--judge", "scripted:gone"), "scripted:gone: cannot be read"),
        (SUITE + JUDGED, ("--suite", "nowhere"), "nowhere"),
        (SUITE + JUDGED, ("-o", "run"), "run: is already there"),
    ],
)
def test_what_cannot_be_judged_is_told_in_one_line(
    finished: Any, toml: str, more: tuple[str, ...], said: str
) -> None:
    write(finished, toml)
    before = {p.name: p.read_bytes() for p in finished.run.iterdir() if p.suffix != ""}

    result = finished.tunegate(
        "judge", "run", "run", "--suite", "suites", "--judge", judge_of(finished.path), *more
    )

    assert result.ret == 2
    assert said in result.stderr.str()
    assert "Traceback" not in result.stderr.str()
    assert {p.name: p.read_bytes() for p in finished.run.iterdir() if p.name in before} == before


def test_other_cases_are_not_judged(finished: Any) -> None:
    cases = [{"id": f"c{i:03}", "prompt": "changed", "expected": "yes"} for i in range(20)]
    finished.raw_suite(SUITE + JUDGED, cases, "civil")

    result = finished.tunegate(
        "judge", "run", "run", "--suite", "suites", "--judge", judge_of(finished.path)
    )

    assert result.ret == 2
    assert "case 'c000' changed since" in result.stderr.str()
