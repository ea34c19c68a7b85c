"""Agreement of reviewers, against the values that Krippendorff published."""

from __future__ import annotations

import random

import pytest

from tunegate.harness.stats.agreement import krippendorff_alpha

TWO_OBSERVERS = ["01", "11", "01", "00", "00", "01", "00", "00", "10", "00"]
FOUR_OBSERVERS = [
    "111", "2232", "3333", "3333", "2222", "1234", "4444", "1121", "2222", "555", "11", "3",
]  # fmt: skip


@pytest.mark.parametrize(("units", "alpha"), [(TWO_OBSERVERS, 0.095), (FOUR_OBSERVERS, 0.743)])
def test_the_published_values(units: list[str], alpha: float) -> None:
    """Krippendorff (2011), sections A and C."""
    assert krippendorff_alpha(units) == pytest.approx(alpha, abs=5e-4)


@pytest.mark.parametrize("units", [[], ["a", "b"], ["aa", "aa"]])
def test_nothing_to_compare(units: list[str]) -> None:
    assert krippendorff_alpha(units) is None


def test_chance_gives_about_zero() -> None:
    rng = random.Random(1)
    units = [[rng.choice("ltr") for _ in range(3)] for _ in range(5000)]

    assert krippendorff_alpha(units) == pytest.approx(0, abs=0.02)
