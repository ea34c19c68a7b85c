"""answer_form: prose, list, table, JSON, code, a word or nothing, as the expected answer is."""

from __future__ import annotations

import pytest

from tunegate.harness.metrics.answer_form import answer_form, form_of
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def score(expected: str | tuple[str, ...] | None, text: str | None) -> Score:
    return answer_form.score(Case(id="c", prompt="p", expected=expected), Completion(text=text))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Paris is the capital.", ("prose", "Latin")),
        ("Two lines\nof prose.", ("prose", "Latin")),
        ("Paris.", ("word", "Latin")),
        ("42", ("word", "")),
        ("", ("empty", "")),
        (" …\n", ("empty", "")),
        ('{"city": "Paris"}', ("json", "Latin")),
        ('{"city": "Par', ("json", "Latin")),  # cut off
        ("[1, 2]", ("json", "")),
        ('["a"', ("json", "Latin")),
        ('```json\n{"a": 1}\n```', ("json", "Latin")),
        ("[Note] this is prose.", ("prose", "Latin")),
        ("{curly} prose", ("prose", "Latin")),
        ("```python\nprint(1)\n```", ("code", "Latin")),
        ("- one\n- two", ("list", "Latin")),
        ("Here you are:\n1. one\n2. two\n3) three", ("list", "Latin")),
        ("- one item alone", ("prose", "Latin")),
        ("| a | b |\n|---|---|\n| 1 | 2 |", ("table", "Latin")),
        ("Париж стоит на Сене.", ("prose", "Cyrillic")),
        ("巴黎是首都。", ("word", "CJK")),
    ],
)
def test_a_text_has_one_form_and_one_script(text: str, form: tuple[str, str]) -> None:
    assert form_of(text) == form


@pytest.mark.parametrize(
    ("expected", "text", "value"),
    [
        ("It is Paris.", "I think it is Lyon.", 1.0),
        ("It is Paris.", '{"city": "Paris"}', 0.0),
        ("It is Paris.", "Это Париж.", 0.0),
        (("It is Paris.", "- Paris\n- Lyon"), "* one\n* two", 1.0),
        ("", "", 1.0),
    ],
)
def test_the_answer_has_the_form_of_an_expected_one(
    expected: str | tuple[str, ...], text: str, value: float
) -> None:
    assert score(expected, text).value == value


def test_the_reason_names_both_forms() -> None:
    assert score("It is Paris.", '{"city": "Paris"}').reason == "json, expected prose"
