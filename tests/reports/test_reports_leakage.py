"""The section on training data and the card of the training, in page, summary and browser."""

from __future__ import annotations

from typing import Any

import pytest

from harness.leakage import Checked
from harness.run import Run
from reports import page
from reports.markdown import summary
from tests.leaked_runs import with_leakage


@pytest.fixture(name="leaked", scope="module")
def _leaked(make_run: Any) -> Run:
    return with_leakage(make_run("BLOCK"))


def test_the_page_shows_clean_and_touched_apart(leaked: Run) -> None:
    """Files, counts, both strata of each gated metric, and the rows that hold each case."""
    html = page.render(leaked)

    touched = leaked.manifest.leakage and leaked.manifest.leakage.suites[0].touched
    assert touched
    assert "1 of 60 cases stand in 750 training rows and are left out of the gates" in html
    assert "<b>Checked in part.</b>" in html
    assert "data/gone.jsonl" in html
    assert "13 words in a row" in html
    assert "t.jsonl:17" in html
    assert "Clean and touched cases of support_json" in html
    assert html.index("t.jsonl:17") < html.index("t.jsonl:4")  # touched before suspect
    [suite] = leaked.verdict.leakage.suites if leaked.verdict.leakage else ()
    assert [(m.metric, m.clean.n, m.touched.n) for m in suite.metrics] == [
        ("json_schema", 58, 1),  # 60 cases, of which one is touched and one was never answered
        ("json_fields", 58, 1),
        ("truncated", 58, 1),
    ]


@pytest.mark.parametrize("asked", [True, False])
def test_what_was_not_checked_is_never_clean(make_run: Any, asked: bool) -> None:
    """A run without training data, and one of before anybody looked, say so."""
    run = make_run("SHIP")
    if asked:
        changes = {"checked": Checked.NOTHING, "why": "no card", "suites": (), "files": ()}
        run = with_leakage(run, **changes)

    html = page.render(run)

    assert "<b>Not checked.</b>" in html
    assert "none of" not in html
    assert "leakage: " not in html


def test_provenance_shows_the_card(leaked: Run) -> None:
    """Main facts in a table, all other settings in a fold, and what differs."""
    html = page.render(leaked)

    assert "How tuned was trained" in html
    assert "A processor" in html
    assert "1 setting of the training" in html
    assert "settings.training.learning_rate" in html
    assert "tuned was trained with another tokenizer." in html


def test_the_summary_tells_it(leaked: Run) -> None:
    """The sentence, and a row for each stratum."""
    text = summary(leaked)

    assert "### Training data" in text
    assert "| clean |" in text
    assert "| touched |" in text
