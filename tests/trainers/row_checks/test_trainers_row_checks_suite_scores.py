"""A teacher's rows: which of them the suite itself would fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.row_checks.planted_rows import TOOLS, chat, found, look
from tunegate.harness.suite import load_suite

TOML = 'name = "s"\ncases = "cases.jsonl"\n'
VALID = TOML + '[[metrics]]\nuse = "json_valid"\n[[gates]]\nmetric = "json_valid"\ngain = 0.1\n'
LENGTH = '[[metrics]]\nuse = "length"\nunit = "words"\n[[gates]]\nmetric = "length"\n'
EXACT = '[[metrics]]\nuse = "exact_match"\n[[gates]]\nmetric = "exact_match"\nfloor = 0.5\n'
GOOD = [chat(f"Ticket {i}, please?", f'{{"order": {i}}}') for i in range(6)]


def scored(report: Any) -> dict[str, list[str]]:
    return {what: lines for what, lines in found(report).items() if "would fail" in what}


def test_answers_that_the_suite_would_fail_are_one_finding_per_metric(
    written: Callable[..., Path], tiny_base: Path, tmp_path: Path
) -> None:
    suite = load_suite(written(VALID))
    bad = [chat("Ticket x?", "Sure, I can help."), chat("Ticket y?", '{"order": 7')]

    [(what, lines)] = scored(look(tmp_path, tiny_base, [*GOOD, *bad], suites=[suite])).items()

    assert "suite s would fail these answers by json_valid (" in what
    assert lines == ["7", "8"]


def test_answers_in_order_have_no_finding(
    written: Callable[..., Path], tiny_base: Path, tmp_path: Path
) -> None:
    report = look(tmp_path, tiny_base, GOOD, suites=[load_suite(written(VALID))])

    assert scored(report) == {}
    assert not [note for note in report.notes if "not scored on rows" in note]


@pytest.mark.parametrize(
    ("bound", "lines"), [("ceiling = 3", ["8"]), ("floor = 2", ["7"]), ("tolerance = 1", [])]
)
def test_a_score_that_is_no_yes_or_no_is_held_to_the_gates_bound(
    written: Callable[..., Path], tiny_base: Path, tmp_path: Path, bound: str, lines: list[str]
) -> None:
    """Answers of two words, but for one of one word and one of four."""
    rows = [chat(f"Ticket {i}?", f"ticket {i}") for i in range(6)]
    rows += [chat("Short?", "yes"), chat("Long?", "one two three four")]
    suite = load_suite(written(f"{TOML}{LENGTH}{bound}\n"))

    report = look(tmp_path, tiny_base, rows, suites=[suite])

    assert [*scored(report).values()] == ([lines] if lines else [])
    assert any("length not scored on rows" in note for note in report.notes) is not bool(lines)


def test_a_metric_that_needs_an_expected_answer_is_named(
    written: Callable[..., Path], tiny_base: Path, tmp_path: Path
) -> None:
    report = look(tmp_path, tiny_base, GOOD, suites=[load_suite(written(TOML + EXACT))])

    assert scored(report) == {}
    [note] = [note for note in report.notes if "not scored on rows" in note]
    assert note.startswith("suite s: exact_match not scored on rows")


def test_rows_with_tools_are_left_out(
    written: Callable[..., Path], tiny_base: Path, tmp_path: Path
) -> None:
    """An answer beside tools may be a call, which is no JSON text."""
    row = {**chat("Ticket?", "I call nobody."), "tools": TOOLS}
    suite = load_suite(written(VALID))

    assert scored(look(tmp_path, tiny_base, [*GOOD, row], suites=[suite])) == {}
