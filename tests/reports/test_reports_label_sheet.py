"""The page on which people label: blind, inert, and worked by keyboard."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from tunegate.reports.label_sheet import render_sheet

ROWS = [
    {"suite": "s", "metric": "tone", "id": "c1", "prompt": "Late?", "completion": "Sorry."},
    {"suite": "s", "metric": "tone", "id": "c2", "prompt": "Lost?", "completion": "So what."},
    {"suite": "s", "metric": "tone", "id": "c3", "prompt": "Hm?", "completion": "",
     "context": "The parcel is lost."},
]  # fmt: skip


def page(rows: list[dict[str, Any]] = ROWS, values: tuple[float, ...] = (0.0, 1.0)) -> str:
    """Return the page."""
    return render_sheet(rows, title="s: tone", question="Does it apologise?", values=values)


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


def test_a_whole_sheet_by_keyboard(browser: Any, tmp_path: Path) -> None:
    """2, 1, back, 2, save: yes and yes; the third stays open, and nothing complains."""
    path = tmp_path / "sheet.html"
    path.write_text(page(), encoding="utf-8")
    complaints: list[str] = []
    tab = browser.new_page()
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(path.as_uri())
    for key in ("2", "1", "k", "2"):
        tab.keyboard.press(key)
    place = tab.text_content("#place")
    with tab.expect_download() as download:
        tab.keyboard.press("s")
    saved = Path(download.value.path()).read_text(encoding="utf-8")

    assert place == "answer 3 of 3 · 2 labelled"
    assert [json.loads(line)["label"] for line in saved.splitlines()] == [1, 1, None]
    assert complaints == []
