"""How far two arms wrote the same text."""

from __future__ import annotations

import pytest

from tunegate.harness.decision.gating.answer_agreement import answer_agreement
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer


def cells(arm: str, texts: list[str | None], kind: str = "generate") -> list[StoredAnswer]:
    """Return an arm's answers to the cases 0, 1 …; None for one that failed."""
    return [
        StoredAnswer(
            cell=Cell(suite="s", case=str(i), arm=arm, kind=CellKind(kind), key=f"{arm}{i}"),
            status="error" if text is None else "ok",
            completion=None if text is None else Completion(text=text),
        )
        for i, text in enumerate(texts)
    ]


def by_case(*arms: list[StoredAnswer]) -> list[StoredAnswer]:
    """Return the cells as they stand in a plan: those of a case together."""
    return [stored for of_case in zip(*arms, strict=True) for stored in of_case]


def test_texts_are_compared_up_to_their_first_difference() -> None:
    """`abcd` and `abxd` agree on 2 of 4 characters, a text cut short on what is left of it.

    A text that goes on longer agrees on 4 of its 8.
    """
    tuned = cells("tuned", ["abcd", "abcd", "abcd", "abcd", None])
    shipped = cells("shipped", ["abcd", "abxd", "a", "abcdefgh", "abcd"])

    found = answer_agreement(by_case(cells("base", ["no"] * 5), tuned, shipped))["s"]

    assert (found.answers, found.same) == (4, 1)
    assert found.until == pytest.approx((1 + 0.5 + 0.25 + 0.5) / 4)


def test_empty_answers() -> None:
    """Two empty answers are equal; an empty one shares nothing with another."""
    found = answer_agreement(by_case(cells("tuned", ["", ""]), cells("shipped", ["", "x"])))["s"]

    assert (found.answers, found.same, found.until) == (2, 1, 0.5)


def test_suites_without_written_answers_are_left_out() -> None:
    asked = by_case(cells("tuned", ["a"], "choices"), cells("shipped", ["a"], "choices"))

    assert answer_agreement(asked) == {}
    assert answer_agreement(cells("tuned", ["a"])) == {}
