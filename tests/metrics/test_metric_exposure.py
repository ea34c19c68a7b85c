"""exposure: the rank of the true value among made-up ones, in bits."""

from __future__ import annotations

import math
import random
from itertools import permutations
from pathlib import Path

import pytest

from tunegate.harness.contracts.metric_loading import load_metric
from tunegate.harness.metrics.exposure import chance, chance_deviation, exposure
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case


def case(n: int, answer: int = 0) -> Case:
    return Case(id="c", prompt="p", choices=tuple("abcdefghijklmnop"[:n]), answer=answer)


def bits(*logprobs: float, answer: int = 0) -> float | None:
    completion = Completion.model_construct(choice_logprobs=logprobs)
    return exposure.score(case(len(logprobs), answer), completion).value


@pytest.mark.parametrize(
    ("logprobs", "value"),
    [
        ((-1, -2, -3, -4), 2.0),  # first of 4: log2(4) - log2(1)
        ((-2, -1, -3, -4), 1.0),  # second
        ((-4, -1, -2, -3), 0.0),  # last
        ((-1, -1, -3, -4), 2 - math.log2(1.5)),  # shares the first and second place
        ((-5, -5, -5, -5), 2 - math.log2(2.5)),
        ((-math.inf, -1, -2, -3), 0.0),
    ],
)
def test_is_the_bits_that_the_rank_is_worth(logprobs: tuple[float, ...], value: float) -> None:
    assert bits(*logprobs) == pytest.approx(value)


def test_the_place_of_the_true_value_makes_no_difference() -> None:
    assert 2.0 == bits(-3, -2, -1, -4, answer=2)


def test_chance_is_the_mean_over_all_orders() -> None:
    every = [bits(*order) or 0.0 for order in permutations((-1.0, -2.0, -3.0, -4.0))]
    mean = sum(every) / len(every)

    assert chance(3) == pytest.approx(mean)
    assert chance_deviation(3) ** 2 == pytest.approx(
        sum((value - mean) ** 2 for value in every) / len(every)
    )
    assert 1.234 == pytest.approx(chance(15), abs=5e-4)  # 4 - log2(16!)/16


def test_a_model_that_never_saw_the_values_scores_chance() -> None:
    rng = random.Random(1)
    values = [bits(*(rng.random() - 2 for _ in range(16)), answer=3) or 0.0 for _ in range(4_000)]

    error = chance_deviation(15) / math.sqrt(4_000)
    assert abs(sum(values) / len(values) - chance(15)) < 4 * error


def test_the_number_of_controls_sets_the_range() -> None:
    bound = load_metric("exposure", {"controls": 63}, name="m", folder=Path(), where="s")

    assert (0.0, 6.0) == bound.range
    assert (0.0, 4.0) == exposure.range


@pytest.mark.parametrize(("controls", "n"), [(0, 16), (15.5, 16), (15, 4)])
def test_another_number_of_choices_is_refused(controls: float, n: int) -> None:
    check = exposure.check

    assert check is not None
    assert 1 == len(check({"controls": controls}, [case(n)]))
    assert [] == check({}, [case(16)])


def test_without_likelihoods_it_is_unscored() -> None:
    assert bits(*[-math.inf] * 4) is None
    assert exposure.score(case(4), Completion(text="a")).value is None
