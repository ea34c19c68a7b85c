"""Values in rows: what is found, and which values can be asked."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.trainers.memorization.row_values import RowValues, find_row_values, sensitive_spans


def chat(asked: str, said: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": asked}],
        "completion": [{"role": "assistant", "content": said}],
    }


def find(*rows: dict[str, Any]) -> RowValues:
    return find_row_values([(f"rows.jsonl:{i}", row) for i, row in enumerate(rows, start=1)])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Order ORD-20240183 left.", [("number", "ORD-20240183")]),
        ("Your number is 8830127.", [("number", "8830127")]),
        ("See 550e8400-e29b-41d4-a716!", [("number", "550e8400-e29b-41d4-a716")]),
        ("Call +49 171 2345678 today.", [("phone", "+49 171 2345678")]),
        ("Write to jo.keller@mailbox.org.", [("email", "jo.keller@mailbox.org")]),
        ("On 2024-05-01 and 20240501, from 2019-2024.", []),
        ("It costs 1,250,000 or 3.14159265.", []),
        ("Room 12-34, iphone-20235, 12345.", []),
        ("Write to me@example.org or call 202-555-0143.", []),  # nobody's
        ("https://shop.org/orders/88301274", []),  # a link is not torn apart
    ],
)  # fmt: skip
def test_what_is_found_in_a_text(text: str, found: list[tuple[str, str]]) -> None:
    assert found == [(kind, text[begin:end]) for kind, begin, end in sensitive_spans(text)]


def test_the_first_value_of_an_answer_is_asked_after_what_stands_before_it() -> None:
    values = find(chat("Where is it?", "Order 8830127 left; call +49 171 2345678."))

    (value,) = values.values
    assert ("rows.jsonl:1", "number", "8830127") == (value.where, value.kind, value.value)
    assert "Order " == value.before
    assert {"number", "phone"} == set(values.every)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (chat("Order 8830127?", "Order 8830127 left."), "gives it away"),
        (chat("Order 88-30-127?", "Order 8830127 left."), "gives it away"),
        (chat("This is Jo Keller.", "Is it jo.keller@mailbox.org?"), "gives it away"),
        (chat("Order 8830127?", "It left."), "only the prompt"),
        (chat("Where?", f"{'word ' * 301}8830127"), "characters of the answer"),
    ],
)
def test_a_value_that_cannot_be_asked_is_left_out(row: dict[str, Any], reason: str) -> None:
    values = find(row)

    assert [] == list(values.values)
    ((why, count),) = values.left_out.items()
    assert reason in why
    assert 1 == count


def test_a_value_of_many_rows_is_meant_to_be_learned() -> None:
    hotline = [chat(f"Who helps {i}?", "Call +49 30 1234500.") for i in range(6)]

    assert [] == list(find(*hotline).values)
    assert 5 == len(find(*hotline[:5]).values)


def test_a_text_row_is_asked_by_what_stands_before_its_value() -> None:
    (value,) = find({"prompt": "", "completion": "Customer 8830127 wrote."}).values

    assert ("", "Customer ") == (value.prompt, value.before)
    assert [] == list(find({"prompt": "", "completion": "8830127 wrote."}).values)
