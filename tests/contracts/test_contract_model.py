"""Limits are checked when they are made."""

from __future__ import annotations

import math

import pytest

from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.records.errors import UsageError


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"attempts": 0},
        {"deadline_s": 0.0},
        {"deadline_s": math.inf},
        {"requests_per_minute": -1.0},
        {"tokens_per_minute": math.nan},
    ],
)
def test_a_bound_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    (name, value), = wrong.items()  # fmt: skip

    with pytest.raises(UsageError, match=f"{name}={value!r}"):
        PoolLimits(**wrong)  # type: ignore[arg-type]  # each is wrong on purpose


def test_the_defaults_are_those_that_are_documented() -> None:
    assert PoolLimits() == PoolLimits(8, 120.0, 5, None, None)
