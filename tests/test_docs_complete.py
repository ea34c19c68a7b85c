"""No page of the documentation has a place that is still to be filled in."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = re.compile(r"@[A-Z][A-Z_]+@|\bTODO\b|\bTBD\b")


def test_no_page_has_a_place_to_fill_in() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 30

    assert [str(p) for p in pages if PLACE.search(p.read_text(encoding="utf-8"))] == []
