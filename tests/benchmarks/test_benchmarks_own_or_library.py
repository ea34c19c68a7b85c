"""The comparison of our code with libraries: its own parts, on inputs by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.own_or_library import pieces, show


def test_every_resource_of_a_document_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "traces.json"
    path.write_text('{"resourceSpans": [{"a": 1}, {"b": [2]}, {"c": {}}]}', encoding="utf-8")

    assert pieces(path) == 3


def test_a_failure_is_part_of_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With its class, on one line; what works has a time alone."""
    show("works", lambda: None)
    show("fails", lambda: int("no\nnumber"))

    works, fails = capsys.readouterr().out.splitlines()
    assert works.endswith(" s")
    assert "ValueError: invalid literal" in fails
