"""Tuned beside the incumbent, in page, summary, comment and log: only where there is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.standing_runs import SENTENCE, beside
from tunegate.reports import page
from tunegate.reports.annotations import run_annotations
from tunegate.reports.markdown import render_comment, render_summary


def test_the_page_has_a_section_of_its_own(make_run: Any) -> None:
    """Verdict, both specs and each guard with its interval; nothing without an incumbent."""
    html = page.render_page(beside(make_run("BLOCK")))

    own = html[html.index('id="incumbent"') :]
    own = own[: own.index("</section>")]
    assert own.count("<tbody") == 2
    for text in (SENTENCE, "replay:", "choice_accuracy", "<svg", "worse by less than 0.05"):
        assert text in own
    assert 'id="incumbent"' not in page.render_page(make_run("BLOCK"))


def test_summary_and_comment_have_it(make_run: Any) -> None:
    run = beside(make_run("BLOCK"))
    told = render_summary(run)
    titles = [line for line in told.splitlines() if line.startswith("### ")]

    assert titles[1:4] == ["### Gates", "### Incumbent", "### Regressions"]
    assert "| incumbent | tuned |" in told
    assert SENTENCE in " ".join(render_comment(run).split())
    assert "### Incumbent" not in render_summary(make_run("BLOCK"))


def test_its_guards_are_annotated(make_run: Any) -> None:
    run = beside(make_run("BLOCK"))
    held = tuple(s.model_copy(update={"gates": ()}) for s in run.verdict.suites)
    verdict = run.verdict.model_copy(update={"suites": held})

    found = run_annotations(replace(run, verdict=verdict), Path())

    assert [(a.title, a.line) for a in found] == [
        ("tunegate: BLOCK", 9),
        ("general_knowledge: choice_probability tolerance fail", 9),
    ]


def test_poison_stays_text(make_run: Any, payloads: tuple[str, ...]) -> None:
    """Hostile sentences and specs add no tag to the page and no command to the log."""
    bad = " ".join(payloads)

    html = page.render_page(beside(make_run("BLOCK"), bad))

    clean = page.render_page(beside(make_run("BLOCK")))
    for tag in ("<script", "<img", "<iframe", "<form", "<base", "<style"):
        assert html.count(tag) == clean.count(tag)
    assert all(
        "\n" not in a.command() for a in run_annotations(beside(make_run("BLOCK"), bad), Path())
    )
