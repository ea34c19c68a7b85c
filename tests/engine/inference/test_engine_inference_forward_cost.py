"""Which rows are computed together, given what a forward costs besides its tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.engine.inference.forward_cost import group_by_length


@given(st.lists(st.integers(1, 400), max_size=60), st.sampled_from([0.0, 60.0, 1000.0]))
def test_no_group_pads_more_than_a_forward_costs(lengths: list[int], cost: float) -> None:
    groups = group_by_length(lengths, cost)

    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        sizes = [lengths[i] for i in group]
        assert sizes == sorted(sizes, reverse=True)
        assert sum(sizes[0] - size for size in sizes) <= cost


@pytest.mark.parametrize(
    ("lengths", "cost", "groups"),
    [
        ([], 60.0, []),
        ([7], 60.0, [[0]]),
        ([10, 100, 10, 10], 60.0, [[1], [0, 2, 3]]),  # 90 tokens of padding, or a forward of 60
        ([90, 100, 80], 60.0, [[1, 0, 2]]),  # 30 tokens of padding
        ([90, 100, 80], 5.0, [[1], [0], [2]]),
        ([3, 3, 3], 0.0, [[0, 1, 2]]),
    ],
)
def test_rows_of_about_one_length_are_together(
    lengths: list[int], cost: float, groups: list[list[int]]
) -> None:
    assert group_by_length(lengths, cost) == groups
