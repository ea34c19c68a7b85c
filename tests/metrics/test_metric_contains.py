"""contains: any or all of the expected texts stand in the answer."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.metrics.contains import contains
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def score(expected: str | tuple[str, ...] | None, text: str | None, **options: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="p", expected=expected)
    return contains.score(case, Completion(text=text), **options)


def problems(options: dict[str, Any], *expected: Any) -> list[str]:
    """Return what the metric refuses when a suite is loaded."""
    cases = [Case(id=f"c{n}", prompt="p", expected=text) for n, text in enumerate(expected)]
    assert contains.check is not None
    return list(contains.check(options, cases))


@pytest.mark.parametrize(
    ("expected", "text", "options", "value"),
    [
        ("KT-4821", "Order KT-4821 is on its way.", {}, 1.0),
        ("KT-4821", "Order KT-4822 is on its way.", {}, 0.0),
        ("KT-4821", "kt-4821", {}, 0.0),  # nothing is lenient unless asked
        ("KT-4821", "kt-4821", {"ignore_case": True}, 1.0),
        ("straße", "STRASSE", {"ignore_case": True}, 1.0),
        ("no", "I know", {}, 1.0),  # the documented limit: parts of words count
        ("two words", "two\nwords", {}, 0.0),
        ("two words", "two\n words", {"ignore_whitespace": True}, 1.0),
        ("é", "e\u0301", {}, 0.0),  # no Unicode normalisation
        ("x", "", {}, 0.0),
        (("a", "b"), "b", {}, 1.0),
        (("a", "b"), "c", {}, 0.0),
        (("a", "b"), "b", {"mode": "all"}, 0.0),
        (("a", "b"), "b a", {"mode": "all"}, 1.0),
        ("x", "y", {"texts": ("y", "z")}, 1.0),  # the option stands for every case
        ("x", "x", {"texts": ("y", "z")}, 0.0),
        (None, "y z", {"texts": ("y", "z"), "mode": "all"}, 1.0),
        ("שלום", "שלום עולם", {}, 1.0),
        ("\0", "a\0b", {}, 1.0),
    ],
)
def test_looks_for_texts(
    expected: str | None, text: str, options: dict[str, Any], value: float
) -> None:
    """Character by character, any or all, each leniency asked for."""
    assert score(expected, text, **options).value == value


def test_one_letter_is_in_almost_any_answer() -> None:
    """A note names the first such case and their number; digits and other scripts are words."""
    texts = ("yes", "B", ("no", "a"), "7", "是")
    cases = [Case(id=f"c{n}", prompt="p", expected=text) for n, text in enumerate(texts)]
    assert contains.caveats is not None
    [note] = contains.caveats({}, cases)
    assert all(part in note for part in ("'B'", "2 of 5 cases", r"\bB\b"))
    assert not contains.caveats({}, cases[:1])
    assert contains.caveats({"texts": ("a",)}, cases[:1])


def test_the_reason_names_what_is_missing() -> None:
    """In the mode `all` only what is not there."""
    assert score(("a", "b", "c"), "b", mode="all").reason == "missing: 'a', 'c'"
    assert score(("a", "b"), "b").reason is None


def test_nothing_to_look_for_is_refused() -> None:
    """A case without an expected text needs the option `texts`."""
    assert problems({"texts": ("x",)}, None, "") == []
    assert problems({}, "x", None) == [
        "metric 'contains' has nothing to look for in case 'c1'; give the metric the option "
        'texts = ["…"], or the case an "expected"'
    ]


@pytest.mark.parametrize(
    ("options", "expected", "place"),
    [
        ({}, ("x", " "), "case 'c1'"),
        ({}, ("x", ("y", "")), "case 'c1'"),
        ({"texts": ("y", "")}, ("x",), "the option texts"),
    ],
)
def test_an_empty_text_is_refused(
    options: dict[str, Any], expected: tuple[Any, ...], place: str
) -> None:
    """It would stand in every answer, and the metric could not fail."""
    assert problems(options, *expected) == [
        f"metric 'contains': {place}: an empty text is in every answer; write what must be"
    ]
