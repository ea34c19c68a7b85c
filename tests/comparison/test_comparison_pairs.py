"""The noise floor: base against itself, and what a claimed difference must clear."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.decided_suites import metric_record
from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.comparison.pairs import Pairs

N = 64
METRIC = metric_record(binary=False, range=None)


def _pairs(differences: np.ndarray, cases: range) -> Pairs:
    """Return pairs of an unbounded score with these differences from 5."""
    return Pairs(
        "s",
        METRIC,
        base=(5.0,) * len(differences),
        tuned=tuple(map(float, 5.0 + differences)),
        cases=tuple(f"c{i}" for i in cases),
    )


def _symmetric(rng: np.random.Generator, mean: float, scale: float) -> np.ndarray:
    """Return values without skewness, whose interval is Student's alone."""
    half = rng.normal(0, scale, N // 2)
    return mean + np.concatenate([half, -half])


@pytest.mark.parametrize("shared", [True, False])
def test_the_limit_is_that_of_the_difference_of_two_means(shared: bool) -> None:
    """On the same cases it is nearly the paired t interval of tuned - base again, by scipy.

    With t intervals MOVER's width is t * sqrt(s1² + s2² - 2 * cov) / sqrt(n), the paired one; on
    other cases there is no covariance, and it is t * sqrt(s1² + s2²) / sqrt(n).
    """
    rng = np.random.default_rng(11)
    again = _symmetric(rng, 0.03, 0.05)
    claim = again + _symmetric(rng, 0.07, 0.08)
    pairs = _pairs(claim, range(N))
    noise = NoiseFloor(_pairs(again, range(N) if shared else range(N, 2 * N)))

    quantile = stats.t.ppf(0.95, N - 1)
    spread = (claim - again).var(ddof=1) if shared else claim.var(ddof=1) + again.var(ddof=1)
    limit = claim.mean() - again.mean() - quantile * math.sqrt(spread / N)

    assert noise.clears(pairs, limit - 1e-9, 0.9)
    assert not noise.clears(pairs, limit + 1e-9, 0.9)


def test_scores_that_never_moved_leave_room_for_one_that_was_not_seen() -> None:
    """Of 64 equal scores 1 - .05^(1/64) = 4.57 % may differ, each by the largest claim, 0.2."""
    noise = NoiseFloor(_pairs(np.zeros(N), range(N)))

    found = noise.interval(0.9, largest=0.2)

    assert (found.low, found.high) == pytest.approx((-0.0091459, 0.0091459), abs=1e-7)
    assert noise.size == 0.0


def test_nothing_is_cleared_where_nothing_bounds_the_noise() -> None:
    rng = np.random.default_rng(12)
    pairs = _pairs(_symmetric(rng, 0.5, 0.05), range(N))
    noise = NoiseFloor(replace(_pairs(np.zeros(N), range(N)), clusters=("a",) * N))

    assert not noise.clears(pairs, 0.0, 0.9)


def test_few_cases_asked_again_count_only_if_they_moved_one_way() -> None:
    """Eight of 64 cases: 0 ± something is taken as symmetric, a steady rise of 0.2 is not."""
    rng = np.random.default_rng(13)
    pairs = _pairs(_symmetric(rng, 0.1, 0.1), range(N))
    wobble = np.array([0.3, -0.3, 0.2, -0.2, 0.1, -0.1, 0.0, 0.0])

    assert NoiseFloor(_pairs(wobble, range(8))).clears(pairs, 0.0, 0.9)
    assert not NoiseFloor(_pairs(0.2 + wobble / 10, range(8))).clears(pairs, 0.0, 0.9)
