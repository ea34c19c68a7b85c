"""A run whose page would be larger than a page may be: every score is there, and the texts first
that a reviewer wants first.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.run_folder import Run
from tunegate.reports import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TICKETS = 3_600
LETTERS = 9_000
"""Of each answer: 3,600 of them are 32 MB, which the arms of a case share."""


@pytest.fixture(name="run", scope="module")
def _run(make_run: Any) -> Run:
    """Return a run of many long answers; each tells its case, and ends otherwise on each arm."""
    run: Run = make_run("BLOCK", tickets=TICKETS, questions=40)
    return replace(run, cells=tuple(map(_lengthened, run.cells)))


def _lengthened(stored: StoredAnswer) -> StoredAnswer:
    done = stored.completion
    if done is None or done.text is None:
        return stored
    text = f"About {stored.cell.case}: {'x' * LETTERS} said {stored.cell.arm}."
    return replace(stored, completion=done.model_copy(update={"text": text}))


@pytest.fixture(name="html", scope="module")
def _html(run: Run) -> str:
    """Return the page of that run."""
    return page.render_page(run)


def _inside(html: str, name: str) -> Any:
    start = html.index(f'id="{name}">') + len(f'id="{name}">')
    return json.loads(html[start : html.index("</script>", start)])


def test_the_page_is_as_large_as_it_may_be(html: str) -> None:
    """Under 25 MB, and so full that no further text would have had room."""
    assert page.LIMIT - 2 * LETTERS < len(html.encode()) <= page.LIMIT == 25_000_000


def test_every_score_is_kept(run: Run, html: str) -> None:
    index = _inside(html, "index")
    kept = {
        (row["suite"], index["metrics"][at]["name"], row["id"], arm): value
        for row in index["cases"]
        for at, base, tuned, _ in row["scores"]
        for arm, value in (("base", base), ("tuned", tuned))
    }

    assert len(index["cases"]) == len(run.cases) == TICKETS + 40
    for score in run.scores:
        found = kept[score.suite, score.metric, score.case, score.arm]
        assert found == (None if score.value is None else pytest.approx(score.value, rel=1e-5))


def test_the_texts_that_a_reviewer_wants_first_are_kept(html: str) -> None:
    """Texts belong to the first rows, whole; all that broke or got worse are among them."""
    rows, bodies = _inside(html, "index")["cases"], _inside(html, "texts")

    bad = [row["how"] in ("broke", "worse") for row in rows]
    assert 0 < sum(bad) < len(bodies) < len(rows)
    assert all(bad[: sum(bad)])
    for row, body in zip(rows, bodies, strict=False):
        if row["suite"] == "support_json" and "lacks" not in body:
            assert body["diff"][0].startswith(f"About {row['id']}: xxx")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_page_opens_and_says_what_it_has_not(html: str, tmp_path: Path) -> None:
    """A notice above the list, and in a case without texts; its scores are shown."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = tmp_path / "report.html"
    path.write_text(html, encoding="utf-8")
    bodies = len(_inside(html, "texts"))
    errors: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        shown = browser.new_page()
        shown.on("pageerror", lambda error: errors.append(str(error)))
        shown.goto(path.as_uri())
        shown.locator("#held").wait_for()
        notice = shown.locator("#held").inner_text()
        shown.evaluate("set({ status: 'all' }); draw(cases.at(-1).at); step(0, true)")
        last = shown.locator(".case-body").inner_text()
        browser.close()

    assert errors == []
    assert f"the texts of the first {bodies:,} of {TICKETS + 40:,} cases" in notice
    assert re.search(r"the texts of this case are in cases.jsonl", last)
    assert "choice_probability" in last or "json_schema" in last
