"""--gate-shipped: the artifact as it will run, beside the fine-tune that it was made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.decision.answer_facts.answer_counts import count_answers
from tunegate.harness.decision.gating.answer_agreement import answer_agreement
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.decision.verdict.deployment_parity import ParityEvidence, compare_shipped
from tunegate.harness.records.files import record_json
from tunegate.harness.records.run_folder import Run


def shipped(project: Any, right: int, **script: Any) -> str:
    """Return the option that names a shipped arm with so many right answers of 100."""
    return f"--gate-shipped={project.model('shipped', right, **{'default': '', **script})}"


@pytest.mark.parametrize(
    ("right", "code", "status"),
    [
        (95, 0, "equivalent"),  # no discordant pair in 100: ±0.0263, within half the gain
        (60, 1, "not_equivalent"),
        (92, 10, "undecided"),
    ],
)
def test_the_verdict_takes_equivalence(project: Any, right: int, code: int, status: str) -> None:
    project.suite()

    result = project.gate(*project.models(), shipped(project, right))

    parity = project.verdict()["further_arms"]["shipped"]
    assert result.ret == code
    assert parity["status"] == status
    assert parity["suites"][0]["agreement"]["answers"] == 100
    assert parity["suites"][0]["agreement"]["same"] == 100 - (95 - right)
    assert parity["suites"][0]["metrics"][0]["n"] == 100
    assert "divergence" not in parity["suites"][0] or not parity["suites"][0]["divergence"]


def test_the_terminal_says_what_ships(project: Any) -> None:
    project.suite()

    result = project.gate(*project.models(), shipped(project, 60))

    result.stdout.fnmatch_lines(
        ["BLOCK: what ships is not equivalent to tuned: demo: exact_match is 95.0 % tuned *"]
    )


def test_a_verdict_that_is_not_about_it_notes_it(project: Any) -> None:
    project.suite()

    result = project.gate(*project.models(tuned=10), shipped(project, 60))

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["BLOCK: demo: *", "note: what ships is not equivalent to tuned: demo: exact_match *"]
    )


def test_base_and_tuned_are_judged_as_without(project: Any) -> None:
    project.suite()
    project.gate(*project.models())
    alone = project.verdict()

    project.gate(*project.models(), shipped(project, 95))
    beside = project.verdict()

    assert alone["suites"][0]["n_skipped_decided"] > 0
    assert beside["suites"] == alone["suites"]
    assert beside["sentence"].startswith(alone["sentence"])


def test_all_cases_are_compared(project: Any) -> None:
    """Base rests where the suite is decided early; tuned and shipped answer the rest as well."""
    project.suite()
    project.gate(*project.models(), shipped(project, 95))

    rows = (project.run / "cells.jsonl").read_text(encoding="utf-8").splitlines()
    cells = [json.loads(row) for row in rows]
    skipped = {c["cell"]["arm"] for c in cells if c["status"] == "skipped"}
    answered = [c["cell"]["arm"] for c in cells if c["status"] == "ok"]
    assert skipped == {"base"}
    assert (answered.count("tuned"), answered.count("shipped")) == (100, 100)
    assert answered.count("base") < 100


def test_an_artifact_that_is_base_is_refused(project: Any) -> None:
    project.suite()
    base, tuned = project.models()

    result = project.gate(base, tuned, base.replace("--gate-base", "--gate-shipped"))

    assert result.ret == 12
    assert project.verdict()["sentence"].startswith(
        "base and shipped have identical content: the fine-tune was lost on the way to what ships"
    )
    assert project.stored() == {}


def test_other_prompts_are_refused(project: Any) -> None:
    project.suite()

    result = project.gate(*project.models(), shipped(project, 95, prefix="Hello. "))

    assert result.ret == 12
    result.stdout.fnmatch_lines(["NOT COMPARABLE: *base and shipped get different prompts*"])


def test_a_failing_artifact_is_an_error(project: Any) -> None:
    """Ten of 100 answers never came: 13, not a zero and not a BLOCK."""
    project.suite()
    failures = {f"c{i:03}": "HTTP 500" for i in range(10)}

    result = project.gate(*project.models(), shipped(project, 95, fail=failures))

    assert result.ret == 13
    assert project.verdict()["further_arms"]["shipped"]["status"] == "error"


def test_a_stored_run_gives_the_same_verdict(project: Any) -> None:
    project.suite()
    project.gate(*project.models(), shipped(project, 92))
    run = Run.load(project.run)
    asked = [c for c in run.cells if c.status != "skipped"]
    [looks] = [s.looks for s in run.manifest.suites]
    assert looks is not None
    seen = run.verdict.suites[0].n_planned - run.verdict.suites[0].n_skipped_decided
    at = {"demo": InterimLook(looks, looks.sizes.index(seen))}

    again = decide_run(
        run.manifest, run.cases_of, run.scores, looks=at, answers=count_answers(asked)
    )
    parity = compare_shipped(
        run.manifest, run.cases_of, run.scores, ParityEvidence(answer_agreement(asked)), looks=at
    )
    assert record_json(again.after("shipped", parity)) == (project.run / "verdict.json").read_text(
        encoding="utf-8"
    )


def test_a_second_run_asks_nothing(project: Any) -> None:
    """All three arms' answers are in the store; the bytes are the same."""
    project.suite()
    options = *project.models(), shipped(project, 95)
    project.gate(*options)
    first = (project.run / "verdict.json").read_bytes()

    project.gate(*options)

    assert set(project.stored().values()) == {1}
    assert (project.run / "verdict.json").read_bytes() == first


def test_the_ini_file_names_it_too(project: Any) -> None:
    project.suite()
    spec = shipped(project, 95).partition("=")[2]
    Path(project.path / "pytest.ini").write_text(
        f"[pytest]\ngate_shipped = {spec}\n", encoding="utf-8"
    )

    assert project.gate(*project.models()).ret == 0
    assert project.verdict()["further_arms"]["shipped"]["status"] == "equivalent"
