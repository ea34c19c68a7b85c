"""Families of prompts: what begins alike is computed together, what does not is not."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tunegate.harness.engine.scheduling import FORWARD, prefix_families


def _families(prompts: Sequence[Sequence[int]]) -> list[set[int]]:
    return [set(family) for family in prefix_families(prompts)]


def test_questions_with_the_same_header_stay_together() -> None:
    """Two subjects with headers of 500 tokens, interleaved: two families, whatever their order."""
    headers = [[1] * 500, [2] * 500]
    prompts = [[*headers[i % 2], 10 + i, 3] for i in range(10)]

    assert _families(prompts) == [set(range(0, 10, 2)), set(range(1, 10, 2))]


def test_a_system_prompt_before_the_headers_does_not_join_them() -> None:
    prompts = [[*[5] * 200, *[i % 2] * 500, 10 + i] for i in range(10)]

    assert _families(prompts) == [set(range(0, 10, 2)), set(range(1, 10, 2))]


def test_two_equal_questions_do_not_part_a_subject() -> None:
    """The ninth and tenth of ten questions share 300 tokens more than their header of 500."""
    prompts = [[*[1] * 500, min(i, 8), *[7] * 300, i] for i in range(10)]

    assert _families(prompts) == [set(range(10))]


def test_short_prompts_are_not_torn_apart() -> None:
    """Prompts that share nothing but are short fill one batch: a forward each would cost more."""
    assert _families([[i] * 20 for i in range(8)]) == [set(range(8))]


@pytest.mark.parametrize(("header", "apart"), [(FORWARD, False), (FORWARD + 1, True)])
def test_a_header_is_worth_a_forward_of_its_own(header: int, apart: bool) -> None:
    prompts = [[i // 2] * header + [i] for i in range(4)]

    assert _families(prompts) == ([{0, 1}, {2, 3}] if apart else [{0, 1, 2, 3}])


def test_a_family_between_prompts_that_share_nothing() -> None:
    header = [5] * 100
    prompts = [[i] for i in range(4)] + [[*header, 9, i] for i in range(6)] + [[7], [8]]

    assert _families(prompts) == [set(range(4, 10)), {0, 1, 2, 3, 10, 11}]


def test_every_question_is_in_one_family() -> None:
    draw = random.Random(1)
    for _ in range(100):
        headers = [[draw.randrange(3)] * draw.choice([0, 50, 300, 600]) for _ in range(3)]
        prompts = [[*draw.choice(headers), draw.randrange(9)] for _ in range(draw.randrange(30))]
        found = prefix_families(prompts)
        assert sorted(i for family in found for i in family) == list(range(len(prompts)))


def test_a_thousand_prompts_that_begin_with_each_other() -> None:
    assert _families([[1] * length for length in range(1, 1_500)]) == [set(range(1_499))]
