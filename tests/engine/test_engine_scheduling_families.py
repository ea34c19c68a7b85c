"""Families of prompts: what begins alike is computed together, what does not is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tunegate.harness.engine.scheduling import FORWARD, prefix_families


def _families(prompts: Sequence[Sequence[int]]) -> list[set[int]]:
    found = prefix_families(range(len(prompts)), dict(enumerate(prompts)))
    return [set(family) for family in found]


def test_questions_with_the_same_header_stay_together() -> None:
    """Two subjects with headers of 500 tokens, interleaved: two families, whatever their order."""
    headers = [[1] * 500, [2] * 500]
    prompts = [[*headers[i % 2], 10 + i, 3] for i in range(10)]

    assert _families(prompts) == [set(range(0, 10, 2)), set(range(1, 10, 2))]


def test_short_prompts_are_not_torn_apart() -> None:
    """Prompts that share nothing but are short fill one batch: a forward each would cost more."""
    assert _families([[i] * 20 for i in range(8)]) == [set(range(8))]


@pytest.mark.parametrize(("header", "apart"), [(FORWARD // 2, False), (FORWARD * 2, True)])
def test_a_header_is_worth_a_forward_of_its_own(header: int, apart: bool) -> None:
    """Two pairs of prompts part where the headers saved are longer than a forward costs."""
    prompts = [[i // 2] * header + [i] for i in range(4)]

    assert _families(prompts) == ([{0, 1}, {2, 3}] if apart else [{0, 1, 2, 3}])


def test_every_question_is_in_one_family() -> None:
    """Nothing is lost or asked twice; equal prompts are one family."""
    prompts = [[1] * 600] * 5 + [[2] * 600 + [i] for i in range(5)]
    found = _families(prompts)

    assert sorted(q for family in found for q in family) == list(range(10))
    assert {0, 1, 2, 3, 4} in found


def test_a_family_beside_prompts_that_share_nothing() -> None:
    """Short prompts of no family come first in the order; what shares a long header still parts."""
    header = [5] * 100
    prompts = [[i] for i in range(4)] + [[*header, 9, i] for i in range(6)]

    assert _families(prompts) == [set(range(4)), set(range(4, 10))]


def test_a_family_inside_a_family() -> None:
    """All share 40 tokens, and one in two 400 more: each of the two reads what it shares once."""
    common, header = [1] * 40, [2] * 400
    prompts = [[*common, *(header if i % 2 else []), 9, i] for i in range(20)]

    assert _families(prompts) == [set(range(1, 20, 2)), set(range(0, 20, 2))]


def test_a_thousand_prompts_that_begin_with_each_other() -> None:
    """However deep beginnings lie in one another, every prompt is in one family."""
    found = _families([[1] * length for length in range(1, 1_500)])

    assert sorted(q for family in found for q in family) == list(range(1_499))
