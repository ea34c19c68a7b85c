"""Answer counts: cut answers and cut thoughts are told apart, and who thinks is compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tunegate.harness.decision.answer_facts.answer_counts import count_answers
from tunegate.harness.decision.answer_facts.answer_notes import answer_notes
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer

PLAIN: dict[str, Any] = {"text": "Oslo", "finish_reason": "stop"}
THOUGHT: dict[str, Any] = {**PLAIN, "reasoning": "Hm.", "reasoning_closed": True}
OPEN: dict[str, Any] = {
    "text": "",
    "reasoning": "Hm",
    "reasoning_closed": False,
    "finish_reason": "length",
}
CUT: dict[str, Any] = {**THOUGHT, "finish_reason": "length"}


def _cells(base: list[dict[str, Any]], tuned: list[dict[str, Any]]) -> Iterator[StoredAnswer]:
    for at, pair in enumerate(zip(base, tuned, strict=True)):
        for arm, fields in zip(("base", "tuned"), pair, strict=True):
            name = f"c{at}"
            cell = Cell(suite="s", case=name, arm=arm, kind=CellKind.GENERATE, key=f"{arm}{at}")
            yield StoredAnswer(cell=cell, status="ok", completion=Completion(**fields))


def _notes(base: list[dict[str, Any]], tuned: list[dict[str, Any]], **card: Any) -> list[str]:
    return list(answer_notes(count_answers(_cells(base, tuned))["s"], card))


def test_thoughts_that_were_cut_are_no_cut_answers() -> None:
    """4 of 10 cut within the thoughts, 2 within the answer: each with its own remedy."""
    counts = count_answers(_cells([THOUGHT] * 10, [OPEN] * 4 + [CUT] * 2 + [THOUGHT] * 4))["s"]

    assert counts.cut == {"base": (0, 10), "tuned": (2, 10)}
    assert counts.open == {"base": 0, "tuned": 4}
    assert counts.thought == {"base": 10, "tuned": 10}
    limit, budget = answer_notes(counts, {})
    assert "2 of 10 answers of tuned" in limit
    assert "max_new_tokens" in limit
    assert "4 of 10 answers of tuned" in budget
    assert "thinking_budget" in budget
    assert [budget] == list(answer_notes(counts, {}, may_be_cut=True))


@pytest.mark.parametrize(
    ("base", "tuned", "noted"), [(10, 0, True), (10, 8, True), (10, 9, False), (0, 0, False)]
)
def test_arms_that_differ_in_thinking(base: int, tuned: int, noted: bool) -> None:
    arms = [[THOUGHT] * n + [PLAIN] * (10 - n) for n in (base, tuned)]
    found = [note for note in _notes(*arms) if "wrote thoughts" in note]

    assert bool(found) is noted
    if found:
        assert f"base wrote thoughts before {base} of 10" in found[0]
        assert f"tuned before {tuned} of 10" in found[0]


@pytest.mark.parametrize(
    ("card", "tuned", "words"),
    [
        ({"rows": 200, "thinking_rows": 200}, PLAIN, "trained on answers with thoughts (200 of"),
        ({"rows": 200, "thinking_rows": 3}, THOUGHT, "without thoughts (197 of 200 rows)"),
        ({"rows": 200, "thinking_rows": 200}, THOUGHT, ""),
        ({"rows": 200, "thinking_rows": 0}, PLAIN, ""),
        ({"rows": 200}, THOUGHT, ""),
        ({"rows": "200", "thinking_rows": None}, THOUGHT, ""),
        ({}, THOUGHT, ""),
    ],
)
def test_training_and_evaluation_differ(card: Any, tuned: dict[str, Any], words: str) -> None:
    """The record of the training says whether its rows held thoughts; without it nothing is."""
    found = [note for note in _notes([tuned] * 10, [tuned] * 10, **card) if "trained" in note]

    assert bool(found) is bool(words)
    assert all(words in note for note in found)


def test_answers_without_a_text_are_not_equal_answers() -> None:
    scored: dict[str, Any] = {"text": None}
    counts = count_answers(_cells([scored] * 30, [scored] * 30))["s"]

    assert (counts.compared, counts.same) == (0, 0)
    assert not any("byte for byte" in note for note in answer_notes(counts, {}))
