"""choice_probability: softmax over the choices, stable at any size of the numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics.choice_accuracy import choice_accuracy
from tunegate.harness.metrics.choice_probability import choice_probability
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def score(
    logprobs: tuple[float, ...] | None,
    answer: int | None = 0,
    choices: tuple[str, ...] | None = None,
    normalize: str = "none",
) -> Score:
    """Score log-likelihoods; records refuse infinities, so their check is skipped."""
    texts = choices or tuple(f"choice {index}" for index in range(len(logprobs or (0, 0))))
    case = Case(id="c", prompt="p", choices=texts, answer=answer)
    completion = Completion.model_construct(choice_logprobs=logprobs)
    return choice_probability.score(case, completion, normalize=normalize)


@pytest.mark.parametrize(
    ("logprobs", "answer", "value"),
    [
        ((-1.0, -2.0), 0, 1 / (1 + math.exp(-1))),  # e^-1 / (e^-1 + e^-2) = 0.7311
        ((-1.0, -2.0), 1, 1 / (1 + math.exp(1))),  # 0.2689
        ((-3.0, -3.0, -3.0, -3.0), 2, 0.25),
        ((math.log(0.2), math.log(0.6)), 1, 0.75),  # 0.6 / 0.8
        ((-1000.0, -1001.0), 0, 1 / (1 + math.exp(-1))),  # e^-1000 alone is 0 in floats
        ((-1e300, 0.0), 0, 0.0),
        ((-math.inf, -2.0), 1, 1.0),
        ((-math.inf, -2.0), 0, 0.0),
        ((-math.inf, -300.0), 1, 1.0),  # a floor of -50 would make the impossible the likeliest
        ((-7.0,), 0, 1.0),
    ],
)
def test_is_the_softmax_share(logprobs: tuple[float, ...], answer: int, value: float) -> None:
    assert score(logprobs, answer).value == pytest.approx(value, abs=1e-15)


def test_byte_divides_before_the_softmax() -> None:
    """`no` has -2/2 = -1, `certainly` -4.5/9 = -0.5: e^-0.5 / (e^-1 + e^-0.5) = 0.6225."""
    result = score((-2.0, -4.5), 1, ("no", "certainly"), "byte")

    assert result.value == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_choices_that_are_all_impossible_are_unscored() -> None:
    assert score((-math.inf, -math.inf)).reason == "no choice has a likelihood above zero"


LOGPROBS = st.lists(st.floats(-1e4, 0.0), min_size=1, max_size=8).map(tuple)


@given(LOGPROBS)
def test_probabilities_add_up_to_one(logprobs: tuple[float, ...]) -> None:
    """Over all possible answers the values lie in [0, 1] and sum to 1."""
    values = [score(logprobs, answer).value for answer in range(len(logprobs))]

    assert all(value is not None and 0.0 <= value <= 1.0 for value in values)
    assert math.fsum(value or 0.0 for value in values) == pytest.approx(1.0)


@given(LOGPROBS, st.floats(-1e4, 0.0))
def test_a_shift_of_all_changes_nothing(logprobs: tuple[float, ...], shift: float) -> None:
    moved = tuple(value + shift for value in logprobs)

    assert score(moved).value == pytest.approx(score(logprobs).value, abs=1e-9)


@given(LOGPROBS)
def test_more_than_half_means_likeliest(logprobs: tuple[float, ...]) -> None:
    """A probability above one half implies accuracy 1."""
    texts = tuple(f"choice {index}" for index in range(len(logprobs)))
    case = Case(id="c", prompt="p", choices=texts, answer=0)
    value = score(logprobs).value

    if value is not None and value > 0.5:
        assert choice_accuracy(case, Completion(choice_logprobs=logprobs)).value == 1.0
