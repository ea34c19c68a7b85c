"""The bundled suite `replace`: the teacher's answers belong to its cases and prompt."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.cases import Case
from tunegate.harness.records.jsonl import read_jsonl
from tunegate.harness.suite import Suite

FOLDER = Path(__file__).parents[2] / "suites/replace"


@pytest.fixture(name="teacher", scope="module")
def _teacher() -> list[dict[str, Any]]:
    """Return the lines of the recorded answers."""
    return list(read_jsonl(FOLDER / "teacher.jsonl"))


def test_every_word_has_twenty_cases_that_are_told_apart(cases: list[Case]) -> None:
    assert {*Counter(case.expected for case in cases).values()} == {20}
    assert len({case.prompt for case in cases}) == 120


def test_the_teacher_answered_every_case_and_has_117_right(
    cases: list[Case], teacher: list[dict[str, Any]]
) -> None:
    assert [line["id"] for line in teacher] == [case.id for case in cases]
    right = [a["completion"] == c.expected for a, c in zip(teacher, cases, strict=True)]
    assert right.count(True) == 117
    assert all(line["cost"] > 0 for line in teacher)


def test_the_teacher_was_asked_what_the_suite_declares(
    suite: Suite, teacher: list[dict[str, Any]]
) -> None:
    for case, line in zip(suite.cases, teacher, strict=True):
        content, settings = suite.asked_of("teacher", case)
        assert line["messages"] == list(content.input_messages(settings.system))


def test_quality_and_price_are_gated_against_the_teacher(suite: Suite) -> None:
    assert {gate.id for gate in suite.gates} == {
        "exact_match::floor", "exact_match::gain", "exact_match::tolerance@teacher",
        "cost::ratio@teacher",
    }  # fmt: skip
    assert len((FOLDER / "README.md").read_text(encoding="utf-8").split()) <= 350
