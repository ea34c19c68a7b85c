"""answer_logprob: the mean log-probability per token, as the backend measured it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tunegate.harness.contracts.metric_loading import load_metric
from tunegate.harness.metrics.answer_logprob import answer_logprob
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CASE = Case(id="c", prompt="p", expected="Paris")


def score(value: float | None, case: Case = CASE, **options: float) -> Score:
    """Score this log-probability; records refuse infinities, so their check is skipped."""
    return answer_logprob.score(case, Completion.model_construct(answer_logprob=value), **options)


@pytest.mark.parametrize(
    ("logprob", "value"),
    [
        (0.0, 0.0),  # certainty
        (math.log(0.5), math.log(0.5)),  # one chance in two per token
        (-2.5, -2.5),
        (-50.0, -50.0),
        (-50.1, -50.0),  # the floor of statistics.md section 9
        (-1e9, -50.0),
        (-math.inf, -50.0),
        (0.0005, 0.0005),  # rounding of half precision, left as it is
    ],
)
def test_passes_the_value_on_above_the_floor(logprob: float, value: float) -> None:
    """The value is the backend's, and never below -50 nats."""
    assert score(logprob).value == value


def test_says_when_it_was_floored() -> None:
    assert score(-math.inf).reason == "floored at -50"
    assert score(-50.0).reason is None


def test_least_bounds_the_scores_and_gives_the_metric_a_range() -> None:
    bound = load_metric("answer_logprob", {"least": -6}, name="m", folder=Path(), where="s")

    assert [score(value, least=-6).value for value in (-7.0, -6.0, -1.5)] == [-6.0, -6.0, -1.5]
    assert bound.range == (-6.0, 0.0)


@pytest.mark.parametrize("least", [0, 1, -51])
def test_least_is_below_zero_and_not_below_the_floor(least: float) -> None:
    check = answer_logprob.check

    assert check is not None
    assert len(check({"least": least}, [CASE])) == 1
    assert check({"least": -6.0}, [CASE]) == []


@pytest.mark.parametrize("logprob", [None, math.nan, math.inf, 2.3])
def test_what_is_no_log_probability_is_unscored(logprob: float | None) -> None:
    result = score(logprob)

    assert result.value is None
    assert result.reason
