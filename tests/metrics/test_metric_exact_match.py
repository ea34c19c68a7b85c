"""exact_match: the answer is one of the expected texts, and each leniency is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics.exact_match import exact_match
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def score(expected: str | tuple[str, ...] | None, text: str | None, **options: bool) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="p", expected=expected)
    return exact_match.score(case, Completion(text=text), **options)


@pytest.mark.parametrize(
    ("expected", "text", "value"),
    [
        ("shipping", "shipping", 1.0),
        ("shipping", "  shipping\n", 1.0),  # white space around does not count
        (" shipping ", "shipping", 1.0),  # on either side
        ("shipping", "\u00a0shipping\u3000", 1.0),  # no-break and ideographic space are white space
        ("shipping", "Shipping", 0.0),  # trap T6: nothing is lenient unless asked
        ("shipping", "shipping.", 0.0),
        ("new york", "new  york", 0.0),
        ("shipping", "it is shipping", 0.0),  # not "contains"
        ("shipping", "", 0.0),
        ("", "", 1.0),  # silence can be the right answer
        ("", "x", 0.0),
        (("shipping", "delivery"), "delivery", 1.0),  # one of several is enough
        (("shipping", "delivery"), "shipping delivery", 0.0),
        ("\u00e9", "e\u0301", 0.0),  # the documented limit: no Unicode normalisation
        ("שלום", "שלום", 1.0),
        ("a\0b", "a\0b", 1.0),
        ("\ud800", "\ud800", 1.0),
    ],
)
def test_compares_stripped_texts(expected: str, text: str, value: float) -> None:
    """Without options only the white space around the texts is dropped."""
    assert score(expected, text) == Score(value=value)


@pytest.mark.parametrize(
    ("option", "expected", "text", "value"),
    [
        ("ignore_case", "Shipping", "sHIPPING", 1.0),
        ("ignore_case", "straße", "STRASSE", 1.0),  # casefold of ß is ss; lower() would fail
        ("ignore_case", "shipping", "shipping.", 0.0),
        ("ignore_punctuation", "Yes", "«Yes!»", 1.0),  # Pi, Po and Pf are all punctuation
        ("ignore_punctuation", "well-known", "wellknown", 1.0),  # Pd
        ("ignore_punctuation", "5 €", "5", 0.0),  # a currency sign is a symbol (Sc)
        ("ignore_punctuation", "a+b", "ab", 0.0),  # so is + (Sm)
        ("ignore_punctuation", "yes", "yes !", 1.0),  # stripping comes last
        ("ignore_punctuation", "yes", "Yes", 0.0),
        ("ignore_whitespace", "new york", " new\n\t york ", 1.0),
        ("ignore_whitespace", "newyork", "new york", 0.0),  # collapsed, not deleted
        ("ignore_articles", "cat on mat", "The cat on a mat", 1.0),
        ("ignore_articles", "apple", "an apple", 1.0),
        ("ignore_articles", "cat", "that cat", 0.0),  # whole words only
        ("ignore_articles", "b-a", "b-", 0.0),  # not part of one with a hyphen
        ("ignore_articles", "cat", "A  the  cat", 1.0),  # with the white space behind them
    ],
)
def test_each_option_drops_one_difference(
    option: str, expected: str, text: str, value: float
) -> None:
    assert score(expected, text, **{option: True}).value == value


def test_options_combine() -> None:
    """All four together compare the bare words."""
    options = {
        "ignore_case": True,
        "ignore_punctuation": True,
        "ignore_whitespace": True,
        "ignore_articles": True,
    }

    assert score("new york", "New,\n YORK!", **options).value == 1.0
    assert score("new york", "“The” New York", **options).value == 1.0  # punctuation goes first


def test_punctuation_only_answers_cannot_be_judged_without_it() -> None:
    """An expected text that the option empties would match every empty answer: unscored."""
    assert score("?", "", ignore_punctuation=True).value is None
    assert score("", "", ignore_punctuation=True).value == 1.0
    assert score("A", "", ignore_articles=True).value is None


OPTIONS = st.dictionaries(
    st.sampled_from(["ignore_case", "ignore_punctuation", "ignore_whitespace", "ignore_articles"]),
    st.booleans(),
)


@given(st.text("a the.B\n") | st.text(), st.text(" \n"), OPTIONS)
def test_options_only_ever_forgive(expected: str, space: str, options: dict[str, bool]) -> None:
    text = f"{space}{expected}{space}"
    if score(expected, text).value == 1.0:
        assert score(expected, text, **options).value in (1.0, None)
