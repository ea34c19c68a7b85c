"""The page in Chromium: nothing a model wrote runs, nothing is fetched, the keyboard works."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.run import Run
from reports.page import render
from tests.leaked_runs import with_leakage
from tests.standing_runs import beside

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Yield one browser for all tests of this file."""
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield made
        made.close()


@pytest.fixture(scope="module")
def files(
    make_run: Any,
    poisoned_run: Run,
    payloads: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Write the pages that the tests open."""
    folder = tmp_path_factory.mktemp("pages")
    leaked = with_leakage(make_run("BLOCK"))
    standing = beside(make_run("BLOCK"), " ".join(payloads))
    runs = {"plain": make_run("BLOCK"), "poisoned": poisoned_run, "leaked": leaked}
    runs["standing"] = standing
    for name, run in runs.items():
        (folder / f"{name}.html").write_text(render(run), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in runs}


@pytest.fixture
def open_page(browser: Any, files: dict[str, Path]) -> Iterator[Any]:
    """Return a function that opens a page; at the end, nothing was asked for or complained of."""
    contexts: list[Any] = []
    complaints: list[str] = []
    requests: list[str] = []

    def refuse(dialog: Any) -> None:
        complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def opened(name: str = "plain", *, width: int = 1280, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", refuse)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(files[name].as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == len(contexts)


def test_no_payload_runs_even_with_everything_open(open_page: Any) -> None:
    """With every row open and hovered over, no payload set its mark and no element is foreign."""
    page = open_page("poisoned")
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.wait_for_timeout(50)
    assert page.evaluate("window.pwned === undefined")
    foreign = "script:not(body > script:last-child), img, iframe, object, embed, base, marquee"
    assert page.evaluate(f"document.querySelectorAll({foreign!r}).length") == 0
    assert page.evaluate("document.querySelectorAll('form').length") == 1
    assert page.title().startswith("BLOCK")


def test_n_and_p_move_through_the_regressions(open_page: Any) -> None:
    """n opens the first row, n again the second and closes the first, p goes back."""
    page = open_page()
    rows = "[...document.querySelectorAll('#regression-list > details')].map((d) => d.open)"
    page.keyboard.press("n")
    assert page.evaluate(rows)[:3] == [True, False, False]
    page.keyboard.press("n")
    assert page.evaluate(rows)[:3] == [False, True, False]
    page.keyboard.press("p")
    assert page.evaluate(rows)[:3] == [True, False, False]
    page.keyboard.press("Enter")
    assert page.evaluate(rows)[:3] == [False, False, False]


def test_an_opened_row_is_not_under_the_bar(open_page: Any) -> None:
    """The row that n opens starts below the sticky bar."""
    page = open_page(width=375)
    page.keyboard.press("n")
    page.keyboard.press("n")
    top = "document.activeElement.getBoundingClientRect().top"
    bar = "document.querySelector('.bar').getBoundingClientRect().bottom"
    assert page.evaluate(f"{top} >= {bar}")


def test_the_filter_narrows_the_list_and_escape_clears_it(open_page: Any) -> None:
    """/ focuses the filter; typing hides rows and counts them; n is typed, not obeyed."""
    page = open_page()
    page.keyboard.press("/")
    page.keyboard.type("json_schema returns")
    shown = "[...document.querySelectorAll('#regression-list > details')].filter((d) => !d.hidden)"
    few = page.evaluate(f"{shown}.length")
    assert 0 < few < 10
    assert page.locator("#found").inner_text().startswith(f"{few} of ")
    page.keyboard.press("Escape")
    assert page.evaluate(f"{shown}.length") > few


def test_help_opens_and_closes(open_page: Any) -> None:
    """? shows the keys, Escape hides them."""
    page = open_page()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_a_link_to_a_case_opens_it(open_page: Any, files: dict[str, Path]) -> None:
    """The address of a folded improvement opens the fold and the case."""
    page = open_page()
    anchor = page.evaluate("document.querySelector('#improvements .case').id")
    page.evaluate(f"location.hash = {anchor!r}")
    page.wait_for_function(f"document.getElementById({anchor!r}).checkVisibility()")
    assert page.evaluate(f"document.getElementById({anchor!r}).open")


@pytest.mark.parametrize("name", ["plain", "poisoned", "leaked", "standing"])
def test_a_phone_never_scrolls_sideways(open_page: Any, name: str) -> None:
    """At 375 px the page is as wide as the screen, folded and with everything open."""
    page = open_page(name, width=375)
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) == 375
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate(width) == 375


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => { for (let at = e; at; at = at.parentElement) {
    const colour = rgb(getComputedStyle(at).backgroundColor);
    if (colour[3] === 255) return colour; }
    return [255, 255, 255]; };
  const seen = new Map();
  for (const e of document.querySelectorAll('body *')) {
    if (!e.checkVisibility() || e.closest('svg')) continue;
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const pair = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) seen.set(e.tagName + '.' + e.className, ratio.toFixed(2));
  }
  return [...seen];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(open_page: Any, scheme: str) -> None:
    """Every visible text has 4.5 : 1 on what lies behind it, with a row of each list open."""
    page = open_page(scheme=scheme)
    page.evaluate(
        "document.querySelectorAll('.how, .fold, .fold .case:first-child, "
        "#regression-list > :first-child').forEach((d) => { d.open = true; })"
    )
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(18, 20, 23)") == (scheme == "dark")
    assert page.evaluate(CONTRAST) == []
