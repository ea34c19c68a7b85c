"""The section on training data and the card of the training, in page, summary and browser."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.leaked_runs import MATCHES, with_leakage
from tunegate.harness.records.contamination import (
    ContaminationCoverage,
    ContaminationMode,
    SuiteContamination,
)
from tunegate.harness.records.run_folder import Run
from tunegate.reports import page
from tunegate.reports.junit import render_junit
from tunegate.reports.markdown import render_summary


@pytest.fixture(name="leaked", scope="module")
def _leaked(make_run: Any) -> Run:
    return with_leakage(make_run("BLOCK"))


def test_the_page_shows_clean_and_touched_apart(leaked: Run) -> None:
    html = page.render_page(leaked)

    touched = leaked.manifest.leakage and leaked.manifest.leakage.suites[0].touched
    assert touched
    assert "1 of 60 cases are in 750 training rows and are left out of the gates" in html
    assert "<b>Checked in part.</b>" in html
    assert "data/gone.jsonl" in html
    assert "13 words in a row" in html
    assert "t.jsonl:17" in html
    assert "Clean and touched cases of support_json" in html
    assert html.index("t.jsonl:17") < html.index("t.jsonl:4")  # touched before suspect
    [suite] = leaked.verdict.leakage.suites if leaked.verdict.leakage else ()
    assert [(m.metric, m.clean.n, m.touched.n) for m in suite.metrics] == [
        ("json_schema", 58, 1),  # 60 cases; one is touched, one was never answered
        ("json_fields", 58, 1),
        ("truncated", 58, 1),
    ]


@pytest.mark.parametrize("asked", [True, False])
def test_what_was_not_checked_is_never_clean(make_run: Any, asked: bool) -> None:
    run = make_run("SHIP")
    if asked:
        changes = {
            "checked": ContaminationCoverage.NOTHING,
            "why": "no card",
            "suites": (),
            "files": (),
        }
        run = with_leakage(run, **changes)

    html = page.render_page(run)

    assert "<b>Not checked.</b>" in html
    assert "none of" not in html
    assert "leakage: " not in html


def test_provenance_shows_the_card(leaked: Run) -> None:
    html = page.render_page(leaked)

    assert "How tuned was trained" in html
    assert "A processor" in html
    assert "1 setting of the training" in html
    assert "settings.training.learning_rate" in html
    assert "tuned was trained with another tokenizer." in html


def _listed(run: Run) -> dict[str, Any]:
    """Return id → row of the page's list."""
    html = page.render_page(run)
    (text,) = re.findall(r'<script type="application/json" id="index">(.*?)</script>', html)
    return {row["id"]: row for row in json.loads(text)["cases"] if row["suite"] == "support_json"}


def test_the_list_marks_what_was_trained_on(leaked: Run) -> None:
    """The touched case says what it shares with which row; the suspect and the clean do not."""
    suspect, touched = (case.id for case in leaked.cases_of["support_json"][:2])

    rows = _listed(leaked)

    assert rows[touched]["trained"] == "13 words in a row, t.jsonl:17; left out of the gates"
    assert [name for name, row in rows.items() if "trained" in row] == [touched]
    assert "trained" not in rows[suspect]


def test_a_reported_case_counts_all_the_same(make_run: Any) -> None:
    run = with_leakage(make_run("BLOCK"), mode=ContaminationMode.REPORT)

    (told,) = [row["trained"] for row in _listed(run).values() if "trained" in row]

    assert told.endswith("; counts in the gates all the same")


@pytest.fixture(name="broken", scope="module")
def _broken(make_run: Any) -> Run:
    """Return a run with a gate that failed, on a case that was trained on as well."""
    run = make_run("BLOCK")
    (match,) = [match for match in MATCHES if match.touched]
    gone = match.model_copy(update={"case": "q003"})
    suite = SuiteContamination(name="general_knowledge", n_cases=60, n_templates=0, matches=(gone,))
    return with_leakage(run, suites=(suite,))


def test_a_regression_names_its_training_rows(broken: Run) -> None:
    assert "<b>1</b> of them in training rows" in page.render_page(broken)
    text = render_summary(broken)
    assert "; 1 of them in training rows." in text


def test_a_case_that_no_gate_counts_fails_no_testcase(make_run: Any, broken: Run) -> None:
    name = 'name="choice_probability::q003"'
    assert name in render_junit(make_run("BLOCK"))
    text = render_junit(broken)
    assert name not in text
    assert "q003 (suites/general_knowledge/cases.jsonl:4, in training rows)" in text


def test_the_summary_tells_it(leaked: Run) -> None:
    text = render_summary(leaked)

    assert "### Training data" in text
    assert "| clean |" in text
    assert "| touched |" in text
