"""Rows beside a suite's cases: each difference is found where it is planted, and only there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.suite_files import HEAD
from tests.trainers.row_checks.planted_rows import chat, found, look
from tunegate.harness.suite import Suite, load_suite

GERMAN = "Wie lange dauert es, bis mein Paket aus dem Lager bei mir zu Hause ankommt, Nummer"
ENGLISH = "How long does it take until my parcel leaves the warehouse and is at my door, number"


@pytest.fixture(name="suite")
def _suite(written: Callable[..., Path]) -> Callable[..., Suite]:
    def make(prompts: list[Any], *, more: str = "") -> Suite:
        cases = [
            {"id": f"c{i}", "expected": "x"}
            | ({"prompt": p} if isinstance(p, str) else {"messages": p})
            for i, p in enumerate(prompts)
        ]
        return load_suite(written(HEAD + more, "".join(f"{json.dumps(c)}\n" for c in cases)))

    return make


def test_rows_like_the_cases_have_no_finding(suite: Any, tiny_base: Path, tmp_path: Path) -> None:
    cases = suite([f"Question about {i}?" for i in range(4)])

    assert {} == found(look(tmp_path, tiny_base, suites=[cases]))


def test_another_system_prompt_is_found(suite: Any, tiny_base: Path, tmp_path: Path) -> None:
    cases = suite(["Question about a?"], more='[generation]\nsystem = "Be brief."\n')
    right = [chat(f"Question number {i}?", "yes" * i, system="Be brief.") for i in range(1, 8)]
    wrong = chat("Question again?", "no", system="Be long.")

    whats = found(look(tmp_path, tiny_base, [*right, wrong, chat("No?", "No")], suites=[cases]))

    [(what, lines)] = whats.items()
    assert "system prompt 'Be long.'; suite s asks with 'Be brief.'" == what
    assert ["8", "9"] == lines


def test_a_language_that_no_row_has_is_found(suite: Any, tiny_base: Path, tmp_path: Path) -> None:
    cases = suite([f"{GERMAN} {i}?" for i in range(5)])
    rows = [chat(f"{ENGLISH} {i}?", f"{i} days") for i in range(20)]

    [what] = found(look(tmp_path, tiny_base, rows, suites=[cases]))

    assert "no rows in de: suite s asks in de (100%); rows are in en (100%)" == what


def test_a_language_that_some_rows_have_is_fine(
    suite: Any, tiny_base: Path, tmp_path: Path
) -> None:
    cases = suite([f"{GERMAN} {i}?" for i in range(5)])
    other = "Kann ich die Lieferung noch an eine andere Adresse in der Stadt umleiten lassen, Fall"
    rows = [chat(f"{other if i % 4 else ENGLISH} {i}?", f"{i} days") for i in range(20)]

    assert {} == found(look(tmp_path, tiny_base, rows, suites=[cases]))


def test_prompts_longer_than_nearly_all_rows_are_found(
    suite: Any, tiny_base: Path, tmp_path: Path
) -> None:
    cases = suite([f"Question {'x' * 90}{i}?" for i in range(3)])

    [what] = found(look(tmp_path, tiny_base, suites=[cases]))

    assert what.startswith("prompts of suite s have 120 tokens in the middle; nearly all rows")


def test_cases_in_the_rows_are_found(suite: Any, tiny_base: Path, tmp_path: Path) -> None:
    cases = suite(["Question number 3?", "Question about a?"])

    whats = found(look(tmp_path, tiny_base, suites=[cases]))

    assert {"1 of 2 cases of suite s are in the rows": ["4 (c0)"]} == whats
