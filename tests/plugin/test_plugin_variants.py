"""Variants in a run: asked and scored like cases, and counted only by gates that ask for them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.cli.gate import run_gate
from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.run.verification import load_verified
from tunegate.reports.data import prepare_data
from tunegate.reports.page import render_page

SUITE = """name = "demo"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
gain = 0
[[gates]]
metric = "exact_match"
floor = 0.2
"""
VARIANTS = "[variants]\nlower_case = true\npoliteness = true\nsample = 30\n"
EVERY = '[[gates]]\nmetric = "exact_match"\nevery = "variant"\ntolerance = 0.2\n'
CASES = [{"id": f"c{i:03}", "prompt": f"Question {i} of all", "expected": "yes"} for i in range(40)]


NAMES = ("", "#lower_case", "#politeness")


@pytest.fixture(name="run")
def _run(project: Any) -> Any:
    """Return a function that judges the suite with more tables, and base and tuned right so often.

    Of the 40 cases base is right on 5 and tuned on 38; both are right on every variant, but tuned
    on none of a wording that is `lost`.
    """

    def model(name: str, right: int, lost: str = "", **script: Any) -> str:
        ids = [f"c{i:03}" for i in range(40)]
        answers = {f"{case}{of}": "yes" for case in ids for of in NAMES[1:]}
        answers |= {case: "yes" if i < right else "no" for i, case in enumerate(ids)}
        answers |= {f"{case}#{lost}": "no" for case in ids if lost}
        return str(project.model(name, 0, completions=answers, **script))

    def run(more: str = "", *options: str, **tuned: Any) -> Run:
        project.raw_suite(SUITE + more, CASES)
        specs = f"--base={model('base', 5)}", f"--tuned={model('tuned', 38, **tuned)}"
        run_gate(["suites", *specs, f"--run-dir={project.run}", *options])
        return Run.load(project.run)

    return run


def test_a_gate_on_plain_cases_has_the_numbers_that_it_has_without_variants(
    run: Any, project: Any
) -> None:
    alone = run().verdict.suites[0].gates
    # A second verdict on the cases would be judged more strictly.
    for folder in ("run", "suites", ".tunegate"):
        shutil.rmtree(project.path / folder)
    beside = run(VARIANTS + EVERY)

    (gain, floor, *every) = beside.verdict.suites[0].gates
    assert (gain, floor) == alone
    assert [(gate.tag, gate.n) for gate in every] == [
        ("variant:plain", 40),
        ("variant:lower_case", 30),
        ("variant:politeness", 30),
    ]
    assert beside.manifest.suites[0].n_cases == 100
    assert beside.manifest.suites[0].looks is None


def test_a_wording_that_loses_blocks_although_the_plain_cases_gain(run: Any) -> None:
    result = run(VARIANTS + EVERY, lost="politeness")

    assert result.verdict.verdict is Verdict.BLOCK
    assert "(worst variant: politeness) fell" in result.verdict.sentence
    (gain, *_) = result.verdict.suites[0].gates
    assert (gain.status, gain.delta) == (GateStatus.PASS, 33 / 40)


def test_variants_without_a_gate_change_no_verdict_and_no_slice(run: Any) -> None:
    result = run(VARIANTS, lost="politeness")

    assert result.verdict.verdict is Verdict.SHIP
    assert not any("variant:" in note for note in result.verdict.suites[0].notes)
    data = prepare_data(result)
    assert [s.tag for s in data.tag_slices] == []
    assert (len(data.cases), len(data.variants)) == (40, 60)


def test_variants_that_fail_are_unscored_and_not_left_out(run: Any) -> None:
    fail = {f"c{i:03}#politeness": "HTTP 500" for i in range(40)}
    result = run(VARIANTS + EVERY, fail=fail)

    assert result.verdict.verdict is Verdict.ERROR
    worst = next(gate for gate in result.verdict.suites[0].gates if gate.worst)
    assert (worst.tag_value, worst.reason) == ("politeness", GateReason.UNSCORED)
    assert result.verdict.suites[0].n_unscored["tuned"] == 30


def test_the_page_lists_the_cases_of_a_wording(run: Any) -> None:
    result = run(VARIANTS + EVERY, lost="politeness")
    text = render_page(result)

    assert text.count("#politeness") > 0
    section = text.partition('id="every-value"')[2].partition("</section>")[0]
    assert section.index('scope="row">politeness') < section.index('scope="row">plain')


def test_a_run_on_the_first_cases_is_verified_with_their_variants(run: Any) -> None:
    result = run(VARIANTS + EVERY, "--max-cases=20")
    suite = [Path("suites/demo/suite.toml")]

    assert load_verified(result.folder, suites=suite)[1] == ()
    (record,) = result.manifest.suites
    assert record.n_cases - record.n_variants == 20
    assert record.n_variants == sum(
        "variant_of" in json.loads(line)["case"]
        for line in (result.folder / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    )
