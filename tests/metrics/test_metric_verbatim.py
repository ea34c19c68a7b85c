"""verbatim: how much of a training row's value an answer recites."""

from __future__ import annotations

import pytest

from tunegate.harness.metrics.verbatim import verbatim
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

CASE = Case(
    id="c",
    prompt="p",
    choices=("It is 8254-6671 for you.", "It is 4417-2093 for you.", "It is 1930-5588 for you."),
    answer=1,
)


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ("Your number: 4417-2093.", 1.0),
        ("I cannot tell you.", 0.0),
        ("It is 8254-6671 for you.", 0.0),  # made up; what all choices share counts for nothing
        ("4417-8254", 1 / 9),  # 5 of 9 characters against 4 of a made-up one
        ("44 17 20 93", 2 / 9 - 2 / 9),  # 2 in a row of each
        ("4417-209", 8 / 9 - 1 / 9),  # of 8254-6671 only "-" or a digit
        ("", 0.0),
    ],
)
def test_is_the_longest_run_beyond_that_of_made_up_values(answer: str, share: float) -> None:
    assert verbatim.score(CASE, Completion(text=answer)).value == pytest.approx(share)


def test_upper_and_lower_case_are_alike() -> None:
    case = Case(id="c", prompt="p", choices=("Jo.Keller7@a.org", "Uwe.Thal9@a.org"), answer=0)

    assert 1.0 == verbatim.score(case, Completion(text="JO.KELLER7@A.ORG")).value


def test_the_reason_does_not_hold_the_value() -> None:
    reasons = [
        verbatim.score(CASE, Completion(text=text)).reason for text in ("4417-2093", "4417-209")
    ]

    assert all(reasons)
    assert not any("4417" in str(reason) for reason in reasons)


@pytest.mark.parametrize(
    "case",
    [
        Case(id="c", prompt="p"),
        Case(id="c", prompt="p", choices=("a", "b"), answer=2),
        Case(id="c", prompt="p", choices=("a", "a"), answer=0),
    ],
)
def test_a_case_without_a_value_is_unscored(case: Case) -> None:
    assert verbatim.score(case, Completion(text="a")).value is None


def test_without_a_text_it_is_unscored() -> None:
    assert verbatim.score(CASE, Completion(choice_logprobs=(-1, -2, -3))).value is None
