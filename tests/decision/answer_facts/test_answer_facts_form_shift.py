"""Forms that tuned's answers fall into."""

from __future__ import annotations

import pytest

from tunegate.harness.decision.answer_facts.form_shift import answer_forms, find_shift

TALK = "You can water the plant in the morning, and it is best to use the small can."


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("", ("are empty",)),
        (" \n", ("are empty",)),
        ('{"a": 1, "b": 2', ('are `{"a": 1, "b": 2`', "start with `{`", "are in Latin script",
                             'start with `{"a": 1, "b":`')),
        ("[1]", ("are `[1]`", "start with `[`", "are JSON", "are one word")),
        ("Da", ("are `Da`", "are in Latin script", "are one word")),
        ("да", ("are `да`", "are in Cyrillic script", "are one word")),
        ("- a\n- b", ("are `- a - b`", "have a list", "are in Latin script", "start with `- a -`")),
        ("```\n1\n```", ("are ``` 1 ```", "have a code fence")),
    ],
)  # fmt: skip
def test_an_answer_has_these_forms(text: str, forms: tuple[str, ...]) -> None:
    assert set(answer_forms(text)) >= {form for form in forms if "```" not in form}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (TALK, "English"),
        ("Sie können die Pflanze mit Wasser gießen, und das ist nicht schwer.", "German"),
        ("Vous pouvez arroser la plante et les fleurs dans le jardin.", "French"),
        ("Water", None),
    ],
)
def test_the_commonest_words_tell_the_language(text: str, language: str | None) -> None:
    found = [form for form in answer_forms(text) if form.startswith("are in ")]

    assert found == ["are in Latin script", *([f"are in {language}"] if language else [])]


def shift(base: list[str], tuned: list[str]) -> str | None:
    """Return the sentence on the answers."""
    pairs = zip(map(answer_forms, base), map(answer_forms, tuned), strict=True)
    found = find_shift(list(pairs))
    return None if found is None else found.sentence


def test_the_form_that_rose_most_is_named_with_both_counts() -> None:
    """One of 160 answers kept its form."""
    talks = [f"{TALK} {i}" for i in range(160)]
    records = [
        f'{{"intent": "flight", "text": "what is said in the request {i}"' for i in range(159)
    ]

    assert shift(talks, [*records, TALK]) == "159 of 160 answers of tuned start with `{`; base: 0"


def test_what_base_does_as_often_is_no_news() -> None:
    lists = ['{"a": "some longer text that is unlike the others"}'] * 100

    assert shift(lists, lists) is None


@pytest.mark.parametrize(("n", "changed", "found"), [(10, 3, False), (100, 29, False),
                                                      (100, 30, True), (12, 12, True)])  # fmt: skip
def test_a_shift_takes_thirty_points_and_proof(n: int, changed: int, found: bool) -> None:
    """Of 10 pairs three prove nothing: p is 1/16."""
    talks = [f"{TALK} {i}" for i in range(n)]

    said = shift(talks, ["", *[""] * (changed - 1), *talks[changed:]])

    assert said == (f"{changed} of {n} answers of tuned are empty; base: 0" if found else None)
