"""The page on paper: every section, every fold open, nothing cut off, dark on white."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tunegate.harness.records.run_folder import Run
from tunegate.reports.page import render_page

WIDTH = 703
"""Pixels between the margins of an A4 page: 210 mm less 24."""
CUT = """() => [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility())
  .filter((e) => !e.closest('.quiet, thead') || e.matches('th'))
  .filter((e) => {
    const style = getComputedStyle(e);
    const inside = e.scrollWidth <= e.clientWidth + 1 && e.scrollHeight <= e.clientHeight + 1;
    const cuts = style.display !== 'inline' && style.overflow !== 'visible' && !inside;
    return cuts || e.getBoundingClientRect().right > innerWidth + 1;
  }).map((e) => `${e.tagName}.${e.className}`)"""
"""The elements that lose something of their content, or stand out of the paper."""


@pytest.fixture(name="page", scope="module")
def _page(browser: Any, make_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a page in a dark window, as wide as paper, with a case open and a note on it."""
    path = tmp_path_factory.mktemp("print") / "report.html"
    path.write_text(render_page(_asked_again(make_run("BLOCK"))), encoding="utf-8")
    page = browser.new_page(viewport={"width": WIDTH, "height": 1000}, color_scheme="dark")
    page.goto(path.as_uri())
    page.keyboard.press("n")
    page.locator(".case-body textarea").fill("Ask the shop.\n" * 6)
    return page


def _asked_again(run: Run) -> Run:
    """Return a run of models behind a network, whose table of costs has the most columns."""
    cells = (
        replace(c, completion=c.completion.model_copy(update={"attempts": 2, "cost": 0.0123}))
        if c.completion
        else c
        for c in run.cells
    )
    return replace(run, cells=tuple(cells))


@pytest.fixture(name="paper")
def _paper(page: Any) -> Iterator[Any]:
    """Yield the page as the printer sees it: its styles, and its folds as it is told to print."""
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    yield page
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")


FOLDS = "[...document.querySelectorAll('details:not(.case, .part)')].map((fold) => fold.open)"


def test_every_section_is_in_the_pdf_and_the_folds_close_again(page: Any) -> None:
    """Chromium's own outline of the PDF has the headings; printing leaves the page as it was."""
    before = page.evaluate(FOLDS)
    seen: list[list[bool]] = []
    page.expose_function("told", lambda folds: seen.append(folds))
    page.evaluate(f"addEventListener('beforeprint', () => told({FOLDS}), {{ once: true }})")

    pdf = page.pdf(format="A4", outline=True, tagged=True)

    titles = {title.decode() for title in re.findall(rb"/Title \(([^)]*)\)", pdf)}
    headings = page.locator("main h2").all_inner_texts()
    assert len(headings) > 9
    assert set(headings) <= titles
    assert not any(before)
    assert len(seen) == 1
    assert all(seen[0])
    assert page.evaluate(FOLDS) == before


def test_nothing_is_cut_off_on_paper(paper: Any) -> None:
    """No text scrolls, ends in dots or leaves the paper; the control: on a screen some does."""
    assert paper.evaluate(CUT) == []
    paper.emulate_media(media="screen")
    assert paper.evaluate(CUT) != []


def test_what_is_open_on_the_screen_is_open_on_paper(paper: Any) -> None:
    """The case with its texts and its note is printed; what is for hands and keys is not."""
    assert paper.locator(".case-body .side pre").first.is_visible()
    assert paper.locator(".case-body textarea").is_visible()
    for gone in (".toc", ".filters", ".looks", ".downloads", "#pages button"):
        assert [e for e in paper.locator(gone).all() if e.is_visible()] == [], gone


def test_paper_is_white_in_a_dark_window_too(paper: Any) -> None:
    body = "getComputedStyle(document.body)"
    assert paper.evaluate(f"[{body}.color, {body}.backgroundColor]") == [
        "rgb(27, 30, 34)",
        "rgb(255, 255, 255)",
    ]
    paper.emulate_media(media="screen")
    assert paper.evaluate(f"{body}.backgroundColor") == "rgb(18, 20, 23)"
