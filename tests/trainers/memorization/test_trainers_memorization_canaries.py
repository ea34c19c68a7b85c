"""Canaries: how often each code stands in the rows, and what makes its controls fair."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest

from tunegate.harness.records.secret_values import secret_values
from tunegate.trainers.datasets import COMPLETIONS
from tunegate.trainers.memorization.canaries import REPEATS, make_canaries

COUNT = 30


@pytest.mark.parametrize("plain", [False, True])
def test_each_code_is_in_as_many_rows_as_its_tag_says(plain: bool) -> None:
    made = make_canaries(COUNT, plain_text=plain, seed=3)
    rows = [str(COMPLETIONS.row(row)) for row in made.rows]

    assert COUNT * sum(REPEATS) == len(rows)
    for case in made.cases:
        code, _ = secret_values(case)
        assert case.tags == (f"repeats:{sum(code in row for row in rows)}",)
    assert Counter(f"repeats:{n}" for n in REPEATS for _ in range(COUNT)) == Counter(
        chain.from_iterable(case.tags for case in made.cases)
    )


@pytest.mark.parametrize("plain", [False, True])
def test_no_control_is_in_a_row(plain: bool) -> None:
    made = make_canaries(COUNT, plain_text=plain, seed=3)
    rows = "\n".join(str(COMPLETIONS.row(row)) for row in made.rows)

    for case in made.cases:
        _, controls = secret_values(case)
        assert 15 == len(set(controls))
        assert not any(control in rows for control in controls)


def test_the_true_code_has_any_place_and_any_rank_among_its_controls() -> None:
    cases = make_canaries(400, plain_text=False, seed=5).cases

    places = Counter(case.answer for case in cases)
    ranks = Counter(
        sum(control < code for control in controls) for code, controls in map(secret_values, cases)
    )
    # 1600 cases on 16 places: 100 each, with a deviation below 10.
    for counted in (places, ranks):
        assert set(range(16)) == set(counted)
        assert all(60 < count < 140 for count in counted.values())


def test_one_seed_draws_one_set() -> None:
    first, again, other = (make_canaries(20, plain_text=False, seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert first.rows != other.rows
