"""Distance of a regression from the expected number."""

from __future__ import annotations

import pytest

from tunegate.harness.metrics.absolute_error import absolute_error
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case


@pytest.mark.parametrize(
    ("expected", "answer", "squared", "value"),
    [
        ("3.5", "3.1", False, 0.4),
        ("3.5", "3.1", True, 0.16),
        (("1", "4"), "3", False, 1.0),
        ("-2", "2e0", False, 4.0),
    ],
)
def test_the_distance(
    expected: str | tuple[str, ...], answer: str, squared: bool, value: float
) -> None:
    case = Case(id="a", prompt="p", expected=expected)
    found = absolute_error(case, Completion(text=answer), squared=squared)

    assert found.value == pytest.approx(value)


@pytest.mark.parametrize("answer", ["refund", "nan", "inf", ""])
def test_an_answer_that_is_not_a_number_is_unscored(answer: str) -> None:
    case = Case(id="a", prompt="p", expected="1")

    assert absolute_error(case, Completion(text=answer)).value is None


def test_an_expected_text_must_be_a_number() -> None:
    assert absolute_error.check is not None
    case = Case(id="a", prompt="p", expected="high")

    assert absolute_error.check({}, [case]) == [
        "metric 'absolute_error': case 'a' has expected='high', which is not a number; write one, "
        'such as "3.5"'
    ]
