"""Findings on texts: each is found where it is planted, and not where rows only look like it."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.trainers import datasets
from tunegate.trainers.row_checks.finding import Finding
from tunegate.trainers.row_checks.text_findings import (
    RowTexts,
    misplaced_turns,
    near_repeats,
    one_label,
    personal_data,
    repeated_rows,
)

LONG = (
    "Describe how a parcel travels from the warehouse in Leipzig to the door of a customer in the "
    "mountains, and say who signs for it when nobody is at home that day"
)


def texts(*rows: dict[str, Any]) -> list[RowTexts]:
    return [RowTexts.of(f"f:{i}", datasets.COMPLETIONS.row(row)) for i, row in enumerate(rows, 1)]


def qa(asked: str, said: str) -> dict[str, Any]:
    return {"instruction": asked, "output": said}


def turns(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"{role} {i}"} for i, role in enumerate(roles)]}


def places(findings: list[Finding]) -> list[str]:
    return [place for finding in findings for place in finding.places]


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (("user", "assistant"), []),
        (("system", "user", "assistant", "user", "assistant"), []),
        (("user", "assistant", "tool", "tool", "assistant"), []),
        (("system", "assistant"), ["f:1 (assistant after system)"]),
        (("assistant", "user", "assistant"), ["f:1 (assistant first)"]),
        (("user", "user", "assistant"), ["f:1 (user after user)"]),
        (("user", "system", "assistant"), ["f:1 (system after user)"]),
    ],
)
def test_roles_take_turns(roles: tuple[str, ...], expected: list[str]) -> None:
    assert expected == places(misplaced_turns(texts(turns(*roles))))


def test_plain_text_has_no_roles() -> None:
    assert [] == misplaced_turns(texts({"prompt": "a", "completion": "b"}, {"text": "c"}))


def test_repeated_rows_are_those_with_the_same_words() -> None:
    rows = texts(qa("Who?", "Me."), qa("Who?", "You."), qa("who", "me"), qa("What?", "Me."))

    assert ["f:3 (as 1)"] == places(repeated_rows(rows))


def test_a_question_with_other_tools_is_another_row() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("add", "divide")]
    asked = [{"role": "user", "content": "Book a flight"}, {"role": "assistant", "content": "No"}]

    one, other = ({"messages": asked, "tools": [tool]} for tool in tools)

    assert [] == repeated_rows(texts(one, other))
    assert ["f:2 (as 1)"] == places(repeated_rows(texts(one, one)))


def test_a_row_with_two_words_changed_nearly_repeats() -> None:
    rows = texts(
        qa(LONG, "The neighbor."),
        qa(LONG.replace("mountains", "hills"), "The neighbor."),
        qa("Something else altogether, with enough words to be compared at all here", "Nobody."),
    )

    assert ["f:2 (as 1)"] == places(near_repeats(rows))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (f"{LONG}. Who signs?", "Anybody in the house may sign the slip."),
        ("Hi", LONG),
        (LONG, "The neighbor."),
    ],
    ids=["another question on one text", "another question with one answer", "the same row"],
)
def test_rows_that_share_one_side_are_no_repeats(asked: str, said: str) -> None:
    first = qa("Hello", LONG) if said == LONG else qa(LONG, "The neighbor.")

    assert [] == near_repeats(texts(first, qa(asked, said)))


def test_a_form_that_all_rows_fill_in_is_no_repeat() -> None:
    form = f"{LONG}. Answer in JSON with the keys intent and slots. Request number "

    assert [] == near_repeats(texts(*(qa(f"{form}{i}", "{}") for i in range(30))))


@pytest.mark.parametrize(("others", "problems"), [(1, 1), (2, 0)])
def test_one_label_in_nine_rows_of_ten(others: int, problems: int) -> None:
    rows = [qa(f"Review {i}", "other" if i < others else "Good") for i in range(10)]

    found = one_label(texts(*rows))

    assert problems == len(found)
    if found:
        assert "90% of the rows have the answer 'good'" == found[0].what
        assert [f"f:{i}" for i in range(2, 11)] == list(found[0].places)


def test_a_handful_of_rows_may_have_one_answer() -> None:
    assert [] == one_label(texts(*(qa(f"Review {i}", "good") for i in range(9))))


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("mail jo.doe@posteo.de", ["email"]),
        ("call +49 30 901820 or 0049", ["phone"]),
        ("card 4111 1111 1111 1111", ["card"]),
        ("from 93.184.216.34", ["ip"]),
        ("mail jo@example.com or root@shop.example", []),
        ("call (555) 123-4567", []),
        ("open 192.168.0.1 or 127.0.0.1", []),
        ("4 8 12 16 20 24 28 32 36 40", []),
    ],
)
def test_personal_data_is_what_may_be_somebodys(text: str, kinds: list[str]) -> None:
    found = personal_data(texts(qa(text, "yes")))

    assert [f"what looks like personal data: {kind}" for kind in kinds] == [f.what for f in found]
