"""The page on which people label or vote: blind, inert, and worked by keyboard."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.cli._label_server import ServedSheet, serve_sheet
from tunegate.reports.label_sheet import CHOICES, render_sheet, render_voting_sheet

ROWS = [
    {"suite": "s", "metric": "tone", "id": "c1", "prompt": "Late?", "completion": "Sorry."},
    {"suite": "s", "metric": "tone", "id": "c2", "prompt": "Lost?", "completion": "So what."},
    {"suite": "s", "metric": "tone", "id": "c3", "prompt": "Hm?", "completion": "",
     "context": "The parcel is lost."},
]  # fmt: skip
PAIRS = [
    {"suite": "s", "id": "c1", "prompt": "Late?", "left": "Sorry.", "right": "So what."},
    {"suite": "t", "id": "c1", "prompt": "Lost?", "left": "", "right": "Sorry. \n",
     "context": "The parcel is lost."},
    {"suite": "s", "id": "c3", "prompt": "Hm?", "left": "a  b", "right": "a\u200bb"},
]  # fmt: skip


def page(rows: list[dict[str, Any]] = ROWS, values: tuple[float, ...] = (0.0, 1.0)) -> str:
    """Return the page."""
    return render_sheet(rows, title="s: tone", question="Does it apologise?", values=values)


def voting_page(rows: list[dict[str, Any]] = PAIRS, served_to: str | None = None) -> str:
    """Return the page of pairs."""
    return render_voting_sheet(
        rows, run_id="r1", key="k1", title="s", question="Which is better?",
        note="30 votes decide.", served_to=served_to,
    )  # fmt: skip


@pytest.fixture(name="open_page")
def _open_page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Return a function that opens a page; at the end, nothing was complained of."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def open_page(text: str, **options: Any) -> Any:
        path = tmp_path / "sheet.html"
        path.write_text(text, encoding="utf-8")
        contexts.append(browser.new_context(**options))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(path.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def start(tab: Any, name: str) -> None:
    """Give the reviewer's name."""
    tab.fill("#name", name)
    tab.keyboard.press("Enter")


def save(tab: Any) -> Any:
    """Save the votes and return the file's content."""
    with tab.expect_download() as download:
        tab.keyboard.press("s")
    return json.loads(Path(download.value.path()).read_text(encoding="utf-8"))


def test_it_holds_the_rows_and_asks_for_nothing() -> None:
    """The data come back as they went in; nothing is fetched, only its own script runs."""
    text = page()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)

    assert data is not None
    assert json.loads(data.group(1))["rows"] == ROWS
    assert "default-src 'none'" in html.unescape(text)
    assert "http" not in re.sub(r'http-equiv="', "", text)
    assert "innerHTML" not in text


def test_hostile_texts_stay_data(payloads: tuple[str, ...]) -> None:
    rows = [{**ROWS[0], "prompt": p, "completion": p, "context": p} for p in payloads]
    text = render_sheet(rows, title=payloads[0], question=payloads[5], values=(0.0, 1.0))

    assert "<img" not in text
    assert "<svg" not in text
    assert text.count("<script") == 2
    assert text.count("</script>") == 2


def test_a_scale_has_a_key_for_each_step() -> None:
    """Two values are no and yes; five are numbers."""
    assert "no <kbd>1</kbd>" in page()
    assert "0.75 <kbd>4</kbd>" in page(values=(0.0, 0.25, 0.5, 0.75, 1.0))


def test_a_whole_sheet_by_keyboard(open_page: Any) -> None:
    """2, 1, back, 2, save: yes and yes; the third stays open."""
    tab = open_page(page())
    for key in ("2", "1", "k", "2"):
        tab.keyboard.press(key)
    place = tab.text_content("#place")
    with tab.expect_download() as download:
        tab.keyboard.press("s")
    saved = Path(download.value.path()).read_text(encoding="utf-8")

    assert place == "answer 3 of 3 · 2 labelled"
    assert [json.loads(line)["label"] for line in saved.splitlines()] == [1, 1, None]
    assert all(
        ROWS[i].items() <= json.loads(line).items() for i, line in enumerate(saved.splitlines())
    )


def test_a_page_of_votes_is_inert(payloads: tuple[str, ...]) -> None:
    rows = [{**PAIRS[0], "prompt": p, "left": p, "right": p, "context": p} for p in payloads]
    text = render_voting_sheet(
        rows, run_id=payloads[0], key=payloads[1], title=payloads[2], question=payloads[3],
        note=payloads[4], served_to=payloads[5],
    )  # fmt: skip

    assert "<img" not in text
    assert "<svg" not in text
    assert text.count("<script") == 2
    assert text.count("</script>") == 2


@pytest.mark.parametrize(("served_to", "may_connect"), [(None, False), ("", True), ("Anna", True)])
def test_only_a_served_page_may_connect(served_to: str | None, may_connect: bool) -> None:
    policy = html.unescape(voting_page(served_to=served_to)).split('content="')[1].split('"')[0]

    assert ("connect-src 'self'" in policy) is may_connect
    assert "default-src 'none'" in policy


def test_votes_by_keyboard(open_page: Any) -> None:
    """1, 3, back, 2, save: left and tie; the third is not in the file."""
    tab = open_page(voting_page())
    assert not tab.is_visible("#sheet")
    start(tab, " Anna  Ö. ")
    for key in ("1", "3", "k", "2"):
        tab.keyboard.press(key)

    assert tab.text_content("#place") == "pair 3 · 2 of 3 voted"
    assert tab.is_hidden("#done")
    assert save(tab) == {
        "schema_version": 1,
        "run_id": "r1",
        "sheet": "k1",
        "by": "Anna  Ö.",
        "votes": [
            {"suite": "s", "case": "c1", "choice": "left"},
            {"suite": "t", "case": "c1", "choice": "tie"},
        ],
    }
    tab.keyboard.press("3")
    assert tab.is_visible("#done")


def test_each_reviewer_goes_on_at_the_first_open_pair(open_page: Any) -> None:
    """Anna votes on one; Ben, on the same browser, on none; back as Anna, it is the second."""
    tab = open_page(voting_page())
    start(tab, "Anna")
    tab.keyboard.press("1")
    tab.reload()
    start(tab, "Ben")
    assert tab.text_content("#place") == "pair 1 · 0 of 3 voted"
    tab.reload()
    assert tab.input_value("#name") == "Ben"
    start(tab, "Anna")
    assert tab.text_content("#place") == "pair 2 · 1 of 3 voted"


def test_space_and_hidden_characters_show(open_page: Any) -> None:
    """Two spaces, a space and line break at the end, a zero-width space, and no answer at all."""
    tab = open_page(voting_page())
    start(tab, "Anna")
    tab.keyboard.press("j")
    assert tab.text_content("[data-part=left]") == "(empty)"
    assert tab.text_content("[data-part=right]") == "Sorry.·↵\n"
    assert tab.is_visible("#has-context")
    tab.keyboard.press("j")
    assert tab.text_content("[data-part=left]") == "a··b"
    assert tab.text_content("[data-part=right]") == "a\\u200bb"
    assert tab.is_hidden("#has-context")


def test_no_payload_runs(open_page: Any, payloads: tuple[str, ...]) -> None:
    rows = [{**PAIRS[0], "prompt": p, "left": p, "right": p, "context": p} for p in payloads]
    tab = open_page(voting_page(rows))
    start(tab, "<img src=x onerror=window.pwned=1>")
    for _ in rows:
        tab.keyboard.press("1")

    assert tab.text_content("#place") == f"pair {len(rows)} · {len(rows)} of {len(rows)} voted"
    assert tab.evaluate("window.pwned === undefined")
    assert tab.evaluate("document.querySelectorAll('img, svg, iframe, object').length") == 0


@pytest.mark.parametrize(("width", "beside"), [(1280, True), (390, False)])
def test_answers_stand_beside_each_other_where_there_is_room(
    open_page: Any, width: int, beside: bool
) -> None:
    """A long answer scrolls in its box, and the buttons stay in sight."""
    long = [{**PAIRS[0], "left": "word " * 2000, "prompt": "why " * 500}]
    tab = open_page(voting_page(long), viewport={"width": width, "height": 844})
    start(tab, "Anna")
    left, right = (tab.locator(f"[data-part={x}]").bounding_box() for x in ("left", "right"))
    buttons = tab.locator(".choices").bounding_box()

    assert (left["y"] == right["y"]) is beside
    assert (left["x"] == right["x"]) is not beside
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert buttons["y"] + buttons["height"] <= 844


def test_axe_finds_nothing(open_page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    for scheme in ("light", "dark"):
        tab = open_page(voting_page(), color_scheme=scheme, bypass_csp=True)
        for _ in range(2):
            results = axe.Axe().run(tab).response["violations"]
            assert [x["id"] for x in results] == []
            if tab.is_visible("#who"):
                start(tab, "Anna")


def test_a_served_page_shows_what_was_not_saved(browser: Any) -> None:
    """The server keeps the first and refuses the second; then it ends, and nothing is saved."""
    kept: dict[int, Any] = {}

    def keep(by: str, row: int, choice: Any) -> None:
        if row == 1:
            raise OSError(28, "No space left on device")
        kept[row] = (by, choice)

    page = voting_page(served_to="")
    sheet = ServedSheet(page, 3, tuple(CHOICES), lambda by: {2: "tie"} if by == "Ben" else {}, keep)
    tab = browser.new_page()
    with serve_sheet(sheet) as address:
        tab.goto(address)
        start(tab, "Anna")
        tab.wait_for_selector("#sheet", state="visible")
        assert tab.is_hidden("#save")
        tab.keyboard.press("3")
        tab.keyboard.press("1")
        tab.wait_for_selector("#problem", state="visible")
        assert "Pair 2 is not saved" in tab.text_content("#problem")
        assert "No space left" in tab.text_content("#problem")
        assert tab.text_content("#place") == "pair 3 · 1 of 3 voted"
        assert kept == {0: ("Anna", "right")}
        tab.reload()
        start(tab, "Ben")
        tab.wait_for_selector("#sheet", state="visible")
        assert tab.text_content("#place") == "pair 1 · 1 of 3 voted"
    tab.keyboard.press("1")
    tab.wait_for_selector("#problem", state="visible")
    assert "has ended" in tab.text_content("#problem")
    assert kept == {0: ("Anna", "right")}
    tab.close()
