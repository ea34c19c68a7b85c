"""JUnit: what fails, what is skipped, and where regressed cases stand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.verdict import Verdict
from tunegate.reports.data import prepare_data
from tunegate.reports.junit import render_junit


def cases(text: str) -> dict[str, ET.Element]:
    """Return classname::name → testcase."""
    root = ET.fromstring(text)
    return {f"{c.get('classname')}::{c.get('name')}": c for c in root.iter("testcase")}


def test_one_testcase_for_each_gate_and_the_verdict(make_run: Any) -> None:
    """Gates are named metric::kind under their suite; totals add up."""
    text = render_junit(make_run("UNDECIDED"))
    assert list(cases(text)) == [
        "tunegate::verdict",
        "support_json::json_schema::floor",
        "support_json::json_schema::gain",
        "support_json::json_fields::tolerance",
        "support_json::truncated::tolerance",
        "general_knowledge::choice_accuracy::tolerance",
        "general_knowledge::choice_probability::tolerance",
    ]
    root = ET.fromstring(text)
    totals = [root.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert totals == ["7", "0", "0", "3"]


def test_the_cases_that_a_failed_gate_broke_fail(make_run: Any) -> None:
    """Each with its scores and its place; cases of gates that hold are no testcases."""
    run = make_run("BLOCK")
    found = cases(render_junit(run))
    broken = {name: case for name, case in found.items() if name.count("::q") == 1}
    assert len(found) - len(broken) == 7
    assert len(broken) == sum(
        score.change < 0
        for view in prepare_data(run).cases
        for score in view.scores
        if score.metric.name == "choice_probability" and score.change is not None
    )
    case = broken["general_knowledge::choice_probability::q003"]
    table = run.score_table
    base, tuned = (
        table["general_knowledge", "choice_probability", "q003", arm].value
        for arm in ("base", "tuned")
    )
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == f"choice_probability {base:.4g} → {tuned:.4g}: got worse"
    assert case.findtext("system-out") == "suites/general_knowledge/cases.jsonl:4"
    totals = ET.fromstring(render_junit(run)).attrib
    assert (totals["failures"], totals["tests"]) == (str(len(broken) + 2), str(len(found)))


def test_of_many_broken_cases_some_are_named(make_run: Any) -> None:
    """Two hundred testcases a gate at most; how many there are is told."""
    text = render_junit(make_run("BLOCK", tickets=8, questions=1_000))
    assert 200 <= len(cases(text)) <= 208
    assert "more in scores.jsonl" in text


def test_a_failed_gate_fails_with_its_sentence_and_names_cases(make_run: Any) -> None:
    """The failure's message is the gate's sentence; regressed cases are output, not failures."""
    run = make_run("BLOCK")
    case = cases(render_junit(run))["general_knowledge::choice_probability::tolerance"]
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == run.verdict.suites[1].gates[1].sentence
    assert failure.get("type") == "regressed"
    output = case.findtext("system-out") or ""
    assert "q003 (suites/general_knowledge/cases.jsonl:4)" in output
    names = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert float(names["delta"] or "nan") == run.verdict.suites[1].gates[1].delta


def test_a_passed_gate_with_regressed_cases_passes(make_run: Any) -> None:
    case = cases(render_junit(make_run("BLOCK")))["support_json::json_schema::gain"]
    assert case.find("failure") is None
    assert "2 cases got worse on json_schema" in (case.findtext("system-out") or "")


def test_undecided_is_skipped_and_advisory_never_fails(make_run: Any) -> None:
    """An undecided gate is skipped; an advisory one is skipped whatever its status."""
    run = make_run("UNDECIDED")
    found = cases(render_junit(run))
    assert found["general_knowledge::choice_probability::tolerance"].find("skipped") is not None
    assert found["tunegate::verdict"].find("skipped") is not None
    suites = tuple(
        s.model_copy(
            update={
                "gates": tuple(
                    g.model_copy(update={"status": GateStatus.FAIL, "advisory": True})
                    for g in s.gates
                )
            }
        )
        for s in run.verdict.suites
    )
    verdict = run.verdict.model_copy(update={"suites": suites})
    root = ET.fromstring(render_junit(replace(run, verdict=verdict)))
    assert root.get("failures") == "0"


@pytest.mark.parametrize(
    ("verdict", "tag"),
    [
        (Verdict.BLOCK, "failure"),
        (Verdict.HOLD, "failure"),
        (Verdict.NOT_COMPARABLE, "error"),
        (Verdict.ERROR, "error"),
        (Verdict.UNDECIDED, "skipped"),
        (Verdict.SHIP, None),
    ],
)
def test_only_ship_is_green(make_run: Any, verdict: Verdict, tag: str | None) -> None:
    run = make_run("SHIP")
    record = run.verdict.model_copy(update={"verdict": verdict, "suites": ()})
    case = cases(render_junit(replace(run, verdict=record)))["tunegate::verdict"]
    outcomes = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    assert outcomes == ([tag] if tag else [])


def test_no_line_of_the_output_begins_a_workflow_command(make_run: Any) -> None:
    """GitHub obeys `::` at the start of a line of a log, and logs print JUnit's output."""
    run = make_run("BLOCK")
    suite = run.verdict.suites[1]
    gates = tuple(
        g.model_copy(update={"sentence": "::error::x\n::set-env::y"}) for g in suite.gates
    )
    changed = (run.verdict.suites[0], suite.model_copy(update={"gates": gates}))
    verdict = run.verdict.model_copy(update={"suites": changed})
    named = {
        key: case.model_copy(update={"where": "::stop-commands::z"})
        if key[0] == suite.name
        else case
        for key, case in run.cases.items()
    }

    root = ET.fromstring(render_junit(replace(run, verdict=verdict, cases=named)))

    lines = [line for out in root.iter("system-out") for line in (out.text or "").splitlines()]
    assert any("::stop-commands::z" in line for line in lines)
    assert [line for line in lines if line.startswith("::")] == []


def test_a_gate_on_a_tag_has_the_tag_in_its_name(make_run: Any) -> None:
    run = make_run("BLOCK")
    suite = run.verdict.suites[1]
    gates = tuple(g.model_copy(update={"tag": "logic"}) for g in suite.gates)
    changed = suite.model_copy(update={"gates": gates})
    verdict = run.verdict.model_copy(update={"suites": (run.verdict.suites[0], changed)})
    found = cases(render_junit(replace(run, verdict=verdict)))
    of_tag = {
        f"general_knowledge::choice_probability::{view.name}"
        for view in prepare_data(run).regressions
        if "logic" in view.case.tags
    }

    assert "general_knowledge::choice_probability::tolerance[logic]" in found
    broken = {name for name in found if name.startswith("general_knowledge::choice_probability::q")}
    assert broken
    assert broken <= of_tag
