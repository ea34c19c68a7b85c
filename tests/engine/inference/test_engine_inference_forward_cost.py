"""What a forward costs besides its tokens, and which rows are computed together for that."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tunegate.harness.engine.inference.forward_cost import group_by_length


def _partitions(rows: list[int]) -> Iterator[list[list[int]]]:
    """Yield all partitions of rows into groups, by exhaustive enumeration."""
    if not rows:
        yield []
        return
    first, *others = rows
    for partition in _partitions(others):
        yield [[first], *partition]
        for at, group in enumerate(partition):
            yield [*partition[:at], [first, *group], *partition[at + 1 :]]


def _cost(groups: list[list[int]], lengths: list[int], cost: float) -> float:
    return sum(max(lengths[i] for i in group) * len(group) + cost for group in groups)


@pytest.mark.parametrize("cost", [0.0, 5.0, 60.0, 1000.0])
def test_no_partition_costs_less(cost: float) -> None:
    """Seven rows of random lengths, compared with all 877 partitions of them, 30 times."""
    draw = random.Random(f"lengths {cost}")
    for _ in range(30):
        lengths = [draw.randint(1, draw.choice([4, 40, 400])) for _ in range(7)]
        groups = group_by_length(lengths, cost)

        assert sorted(i for group in groups for i in group) == list(range(7))
        least = min(_cost(one, lengths, cost) for one in _partitions(list(range(7))))
        assert _cost(groups, lengths, cost) == pytest.approx(least)


@pytest.mark.parametrize(
    ("lengths", "cost", "groups"),
    [
        ([], 60.0, []),
        ([7], 60.0, [[0]]),
        ([10, 100, 10, 10], 60.0, [[1], [0, 2, 3]]),  # 270 tokens of padding, or a forward of 60
        ([90, 100, 80], 60.0, [[1, 0, 2]]),  # 30 tokens of padding
        ([90, 100, 80], 5.0, [[1], [0], [2]]),
        ([3, 3, 3], 0.0, [[0, 1, 2]]),
    ],
)
def test_rows_of_about_one_length_are_together(
    lengths: list[int], cost: float, groups: list[list[int]]
) -> None:
    """Rows are apart where their padding would cost more than a forward."""
    assert group_by_length(lengths, cost) == groups
