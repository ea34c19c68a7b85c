"""metrics.txt: the numbers of a run as OpenMetrics."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tunegate.harness.records.run_folder import Run
from tunegate.reports.openmetrics import HELP, render_openmetrics

LABELS = r'\{[a-z]+="(?:[^"\\\n]|\\[\\"n])*"(?:,[a-z]+="(?:[^"\\\n]|\\[\\"n])*")*\}'
SAMPLE = re.compile(rf"[a-z_]+(?:{LABELS})? [-+]?[0-9.]+(?:e[-+]?[0-9]+)?")
"""A sample of a gauge in the grammar of OpenMetrics 1.0 (metricname labels? SP number)."""


def test_each_number_is_named_by_suite_metric_and_gate(make_run: Any) -> None:
    """Levels and delta once a metric, interval once a gate; the last line ends the text."""
    run = make_run("BLOCK")
    gate = run.verdict.suites[1].gates[1]

    lines = render_openmetrics(run).splitlines()

    place = '{suite="general_knowledge",metric="choice_probability"'
    assert "tunegate_ships 0" in lines
    assert 'tunegate_cases_planned{suite="general_knowledge"} 46' in lines
    assert f"tunegate_delta{place}}} {gate.delta:.6g}" in lines
    assert f'tunegate_low{place},gate="tolerance"}} {gate.low:.6g}' in lines
    assert lines[-1] == "# EOF"
    # json_schema has a floor and a gain: one delta, two intervals.
    assert sum('tunegate_delta{suite="support_json",metric="json_schema"' in x for x in lines) == 1
    assert sum('tunegate_high{suite="support_json",metric="json_schema"' in x for x in lines) == 2


def test_ship_is_one(make_run: Any) -> None:
    """Only SHIP ships."""
    assert "tunegate_ships 1\n" in render_openmetrics(make_run("SHIP"))
    assert "tunegate_ships 0\n" in render_openmetrics(make_run("UNDECIDED"))


def test_poison_stays_in_its_label(poisoned_run: Run) -> None:
    for line in render_openmetrics(poisoned_run).splitlines():
        if line.startswith("#"):
            assert line == "# EOF" or line.split()[2] in HELP
        else:
            assert SAMPLE.fullmatch(line), line


def test_an_unknown_number_is_absent(make_run: Any) -> None:
    run = make_run("SHIP")
    suite = run.verdict.suites[0]
    gates = tuple(g.model_copy(update={"low": None, "high": None}) for g in suite.gates)
    only = suite.model_copy(update={"gates": gates})
    bare = run.verdict.model_copy(update={"suites": (only,)})

    text = render_openmetrics(Run(**{**vars(run), "verdict": bare}))

    assert "tunegate_low" not in text
    assert "tunegate_high" not in text


def test_a_quotation_mark_does_not_end_a_label(make_run: Any) -> None:
    """Backslash, quotation mark and line feed are escaped as OpenMetrics 1.0 has it."""
    run = make_run("BLOCK")
    suites = (run.verdict.suites[0].model_copy(update={"name": 'a"b\\c'}),)
    verdict = run.verdict.model_copy(update={"suites": suites})

    lines = render_openmetrics(replace(run, verdict=verdict)).splitlines()

    (planned,) = [line for line in lines if line.startswith("tunegate_cases_planned{")]
    assert planned == r'tunegate_cases_planned{suite="a\"b\\c"} 60'


def test_a_gate_on_a_tag_has_numbers_of_its_own(make_run: Any) -> None:
    run = make_run("BLOCK")
    suite = run.verdict.suites[1]
    part = suite.gates[1].model_copy(update={"tag": "logic", "delta": -0.5})
    changed = suite.model_copy(update={"gates": (*suite.gates, part)})
    verdict = run.verdict.model_copy(update={"suites": (run.verdict.suites[0], changed)})
    lines = render_openmetrics(replace(run, verdict=verdict)).splitlines()

    place = '{suite="general_knowledge",metric="choice_probability"'
    assert f'tunegate_delta{place},tag="logic"}} -0.5' in lines
    assert f"tunegate_delta{place}}} {suite.gates[1].delta:.6g}" in lines
