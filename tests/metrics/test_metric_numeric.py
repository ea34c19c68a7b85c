"""numeric: the final number of free text, against a table written from the specification."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics._final_number import find_final_number
from tunegate.harness.metrics.numeric import numeric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.text(
    "0123456789.,/-−^{}\\frac boxedanswer is:=#%½²×e$\n\0\u202e\ud800"
)
TABLE = json.loads(Path(__file__).with_name("tables").joinpath("numeric.json").read_text("utf-8"))


def score(expected: str | tuple[str, ...] | None, text: str | None, **options: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="p", expected=expected)
    return numeric.score(case, Completion(text=text), **options)


def problems(options: dict[str, Any], *expected: str) -> list[str]:
    """Return what the metric refuses when a suite is loaded."""
    cases = [Case(id=f"c{n}", prompt="p", expected=text) for n, text in enumerate(expected)]
    assert numeric.check is not None
    return list(numeric.check(options, cases))


def test_reads_the_final_number() -> None:
    for row in TABLE:
        found = find_final_number(row["text"], **row.get("options", {}))
        wanted = None if row["number"] is None else Fraction(row["number"])

        assert (found and found.value) == wanted, row["why"]


def test_scores_what_it_reads() -> None:
    for row in TABLE:
        options, why = row.get("options", {}), row["why"]
        if row["number"] is None:
            result = score("1", row["text"], **options)
            assert result == Score.of(0.0, "no number in the answer"), why
            continue
        number = Fraction(row["number"])
        for expected, wanted in ((number, 1.0), (number + 1, 0.0)):
            # as a fraction of integers it means the same under every option
            text = f"{expected.numerator}/{expected.denominator}"
            assert score(text, row["text"], **options).value == wanted, why


@pytest.mark.parametrize(
    ("expected", "text", "options", "value"),
    [
        ("3.14", "3.1416", {}, 0.0),
        ("3.14", "3.1416", {"tolerance": 0.0016}, 1.0),  # the border counts
        ("3.14", "3.1416", {"tolerance": 0.0015}, 0.0),
        ("1.0", "1.1", {"tolerance": 0.1}, 1.0),  # decimal: floats would say 0.10000000000000009
        ("200", "198", {"relative_tolerance": 0.01}, 1.0),  # 1 % of 200 is 2
        ("200", "197.9", {"relative_tolerance": 0.01}, 0.0),
        ("-200", "-202", {"relative_tolerance": 0.01}, 1.0),  # of the size, not the value
        ("0", "0.001", {"relative_tolerance": 0.5}, 0.0),  # half of nothing is nothing
        ("200", "198", {"tolerance": 1.0, "relative_tolerance": 0.01}, 1.0),  # either will do
        ("1/3", "0.333", {}, 0.0),  # exact unless a tolerance is given
        ("1/3", "0.333", {"tolerance": 0.001}, 1.0),
        ("1/3", "2/6", {}, 1.0),
        ("0.5", "50%", {}, 0.0),
        ("0.5", "50%", {"percent": "hundredth"}, 1.0),
        ("50%", "50", {}, 1.0),
        ("1.234,5", "1234,50", {"decimal": "comma"}, 1.0),  # both sides are read alike
        ("-5", "5", {}, 0.0),
        ("9007199254740993", "9007199254740992", {}, 0.0),  # beyond what a float tells apart
    ],
)
def test_compares_within_either_tolerance(
    expected: str, text: str, options: dict[str, Any], value: float
) -> None:
    """Values are exact; a tolerance is inclusive, and the larger of both holds."""
    assert score(expected, text, **options).value == value


def test_one_of_several_expected_numbers_is_enough() -> None:
    assert score(("2", "-2"), "x = -2").value == 1.0
    assert score(("2", "-2"), "x = 3").value == 0.0


def test_a_whole_solution_can_be_expected() -> None:
    """GSM8K's answers work as they are."""
    solution = "She sold 48/2 = <<48/2=24>>24 clips in May.\nIn all 48+24 = 72.\n#### 72"

    assert score(solution, "So the answer is 72 clips.").value == 1.0


def test_a_number_of_more_than_a_thousand_digits_is_none() -> None:
    """It is a loop, not a number; the ones before it still count."""
    assert score("1" * 1000, "1" * 1000).value == 1.0
    assert score("1", "1" * 1001).reason == "no number in the answer"
    assert score("7", f"7 and {'1' * 1001}").value == 1.0


def test_the_reason_says_what_was_read() -> None:
    assert score("1", "The answer is $1,200 for 3 days.").reason == "read 1,200"


def test_an_expected_answer_without_a_number_is_refused() -> None:
    assert problems({}, "12", "3/4") == []
    assert problems({}, "12", "twelve") == [
        "metric 'numeric': case 'c1' has expected='twelve', which has no number; write "
        'one, such as "12.5"'
    ]


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["tolerance", "relative_tolerance"])
def test_a_senseless_tolerance_is_refused(name: str, value: float) -> None:
    """A tolerance is 0 or more, and finite."""
    assert problems({name: value}, "1") == [
        f"metric 'numeric': {name}={value}: must be 0 or more, and finite"
    ]


OPTIONS = st.fixed_dictionaries(
    {
        "percent": st.sampled_from(["unit", "hundredth"]),
        "decimal": st.sampled_from(["point", "comma"]),
    }
)


@given(ANY_TEXT, ANY_TEXT, OPTIONS)
def test_any_text_scores_zero_or_one(expected: str, text: str, options: dict[str, Any]) -> None:
    """No text raises; unscored is only a case whose expected text has no number."""
    value = score(expected, text, **options).value
    readable = Case(id="c", expected=expected).expected_texts()[0]

    assert value in (0.0, 1.0, None)
    assert (value is None) == (find_final_number(readable, **options) is None)


@given(st.fractions(max_denominator=10**6), st.sampled_from(["", "$", "€"]))
def test_any_fraction_is_read_back(number: Fraction, currency: str) -> None:
    text = f"{number.numerator}/{number.denominator}"
    text = f"-{currency}{text[1:]}" if number < 0 else f"{currency}{text}"

    assert (found := find_final_number(f"The answer is {text} in all.")) is not None
    assert found.value == number


@given(st.integers(-(10**15), 10**15))
def test_any_grouping_is_read_back(number: int) -> None:
    """Thousands separators change nothing; Python's own formatting writes them."""
    for text in (f"{number:,}", f"{number:_}", f"{number:,}".replace(",", "\u202f")):
        assert (found := find_final_number(f"({text})")) is not None
        assert found.value == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_float_is_read_back(number: float) -> None:
    assert (found := find_final_number(repr(number))) is not None
    assert found.value == Fraction(repr(number))


@pytest.mark.parametrize("text", ["0E:0", "1e:5", "2^;3", "3e,4"])
def test_an_exponents_sign_is_a_sign(text: str) -> None:
    numeric_case = Case(id="c", prompt="p", expected=text)

    assert numeric(numeric_case, Completion(text=text)).value == 1.0
