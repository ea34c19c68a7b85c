"""choice_accuracy: the right choice is the likeliest; ties do not count."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics.choice_accuracy import choice_accuracy
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def score(
    logprobs: tuple[float, ...] | None,
    answer: int | None = 0,
    choices: tuple[str, ...] | None = ("a", "b", "c"),
    normalize: str = "none",
) -> Score:
    """Score log-likelihoods; records refuse infinities, so their check is skipped."""
    case = Case(id="c", prompt="p", choices=choices, answer=answer)
    completion = Completion.model_construct(choice_logprobs=logprobs)
    return choice_accuracy.score(case, completion, normalize=normalize)


@pytest.mark.parametrize(
    ("logprobs", "answer", "value"),
    [
        ((-1.2, -0.4, -3.0), 1, 1.0),
        ((-1.2, -0.4, -3.0), 0, 0.0),
        ((-1.2, -0.4, -3.0), 2, 0.0),
        ((-0.4, -1.2, -1.2), 0, 1.0),  # a tie of the wrong ones does not matter
        ((-0.4, -0.4, -3.0), 0, 0.0),  # lm-eval's argmax would take the first and say 1
        ((-0.4, -0.4, -3.0), 1, 0.0),
        ((-0.4, -0.4, -3.0), 2, 0.0),  # beaten by a tie is beaten
        ((0.0, 0.0, 0.0), 0, 0.0),
        ((-math.inf, -900.0, -math.inf), 1, 1.0),  # impossible ones lose to an unlikely one
        ((-math.inf, -math.inf, -math.inf), 0, 0.0),
    ],
)
def test_the_likeliest_choice_wins(logprobs: tuple[float, ...], answer: int, value: float) -> None:
    """The right choice must be above every other, not only equal."""
    assert score(logprobs, answer).value == value


def test_a_tie_says_so() -> None:
    """A tie carries its reason; a plain wrong answer needs none."""
    assert "tie" in str(score((-0.4, -0.4, -3.0), 0).reason)
    assert score((-0.4, -0.3, -0.3), 0).reason is None


def test_one_choice_is_always_the_likeliest() -> None:
    assert score((-9.0,), 0, ("a",)).value == 1.0


@pytest.mark.parametrize(
    ("choices", "logprobs", "answer", "none", "byte"),
    [
        # lm-eval by hand: acc = argmax(ll), acc_norm = argmax(ll / len).
        # "no": -2/2 = -1; "certainly": -4.5/9 = -0.5, so the long one wins when normalised.
        (("no", "certainly"), (-2.0, -4.5), 1, 0.0, 1.0),
        (("no", "certainly"), (-2.0, -4.5), 0, 1.0, 0.0),
        # "é" is 2 bytes: -2/2 = -1 beats "e": -1.5/1 = -1.5. By characters e would win.
        (("é", "e"), (-2.0, -1.5), 0, 0.0, 1.0),
        # an emoji is 4 bytes: -4/4 = -1 ties with "a": -1/1.
        (("😀", "a"), (-4.0, -1.0), 0, 0.0, 0.0),
    ],
)
def test_byte_divides_by_the_utf8_length(
    choices: tuple[str, ...], logprobs: tuple[float, ...], answer: int, none: float, byte: float
) -> None:
    """`byte` is the likelihood per UTF-8 byte of the choice's text."""
    assert score(logprobs, answer, choices).value == none
    assert score(logprobs, answer, choices, "byte").value == byte


@pytest.mark.parametrize(
    ("logprobs", "answer", "choices", "normalize"),
    [
        (None, 0, ("a", "b"), "none"),
        ((-1.0,), 0, ("a", "b"), "none"),  # one is missing
        ((-1.0, -2.0), None, ("a", "b"), "none"),
        ((-1.0, -2.0), 0, None, "none"),
        ((-1.0, -2.0), 2, ("a", "b"), "none"),
        ((-1.0, -2.0), -1, ("a", "b"), "none"),
        ((math.nan, -2.0), 0, ("a", "b"), "none"),
        ((1.7, 2.0), 0, ("a", "b"), "none"),  # losses given for log-likelihoods
        ((-1.0, -2.0), 0, ("a", ""), "byte"),  # no length to divide by
    ],
)
def test_missing_or_unusable_data_is_unscored(
    logprobs: tuple[float, ...] | None,
    answer: int | None,
    choices: tuple[str, ...] | None,
    normalize: str,
) -> None:
    """What cannot be judged is unscored with a reason, never 0."""
    result = score(logprobs, answer, choices, normalize)

    assert result.value is None
    assert result.reason


@given(st.lists(st.floats(-1e6, 0.0), min_size=1, max_size=8))
def test_exactly_one_choice_is_right_unless_the_best_tie(values: list[float]) -> None:
    """Over all possible answers the scores add up to 1, or to 0 with a tie at the top."""
    choices = tuple(f"choice {index}" for index in range(len(values)))
    scores = [score(tuple(values), answer, choices).value for answer in range(len(values))]

    assert sum(value or 0.0 for value in scores) == float(values.count(max(values)) == 1)
