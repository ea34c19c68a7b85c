"""The account of a reading: what was left out and repaired, how often and where first."""

from __future__ import annotations

from tunegate.harness.telemetry.read.types import ImportReport


def test_reasons_are_counted_with_their_first_place() -> None:
    """The most frequent stands first; one that was met once needs no "first"."""
    reading = ImportReport()
    reading.leave_out("a line that is not JSON", "a.jsonl:3")
    for line in (5, 7):
        reading.leave_out("a span without an id", f"a.jsonl:{line}")
    reading.repair("half of a surrogate pair", "b.jsonl:1")

    assert reading.sentences() == [
        "left out 2: a span without an id (first a.jsonl:5)",
        "left out 1: a line that is not JSON (a.jsonl:3)",
        "repaired 1: half of a surrogate pair (b.jsonl:1)",
    ]


def test_nothing_to_report() -> None:
    """A clean reading has no sentences."""
    assert ImportReport().sentences() == []
