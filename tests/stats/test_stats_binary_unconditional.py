"""The exact unconditional test of paired 0/1 scores."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.property_settings import examples
from tunegate.harness.stats.binary import exact_unconditional, tango_test

PROPERTY = examples(25)


def brute_force(wins, losses, n, margin, points=121):
    """Sum the trinomial cell by cell over every table at least as extreme."""
    observed = tango_test(wins, losses, n, margin=margin).statistic
    extreme = [
        (b, c)
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if tango_test(b, c, n, margin=margin).statistic >= observed - 1e-9
    ]
    tail = 0.0025 / 2
    low = stats.beta.ppf(tail, losses, n - losses + 1) if losses else 0
    high = stats.beta.ppf(1 - tail, losses + 1, n - losses) if losses < n else 1
    low, high = np.clip([low, high], max(0, -margin), (1 - margin) / 2)
    worst = 0.0
    for q in np.linspace(low, high, points):
        cells = [q + margin, q, max(0.0, 1 - margin - 2 * q)]
        tables = [(b, c, n - b - c) for b, c in extreme]
        worst = max(worst, float(stats.multinomial.pmf(tables, n, cells).sum()))
    return min(1.0, worst + 0.0025)


def test_reference():
    """9 wins and 1 loss of 50 against .05 give .0410, where the score test says .0300."""
    assert round(exact_unconditional(9, 1, 50, margin=0.05).p_value, 4) == 0.0410
    assert round(tango_test(9, 1, 50, margin=0.05).p_value, 4) == 0.0300


def test_published():
    """Without the Berger-Boos term it doubles to Suissa and Shuster's .0353 for 1 : 7 of 21."""
    p_value = exact_unconditional(7, 1, 21, margin=0.0).p_value

    assert round(2 * (p_value - 0.0025), 4) == 0.0353


@pytest.mark.parametrize(
    ("wins", "losses", "n", "margin"),
    [(5, 1, 12, 0.0), (6, 0, 12, 0.1), (2, 2, 10, -0.2), (0, 3, 8, -0.3), (4, 1, 14, 0.05)],
)
def test_brute_force(wins, losses, n, margin):
    """The factorised sum equals the trinomial summed cell by cell."""
    expected = brute_force(wins, losses, n, margin)

    assert exact_unconditional(wins, losses, n, margin=margin).p_value == pytest.approx(expected)


@pytest.mark.parametrize("margin", [-0.5, -0.05, 0.0, 0.05, 0.4])
def test_statistic_grows_with_wins(margin):
    """The statistic never falls when a win is added, which the bisection relies on."""
    n = 30
    for losses in range(n + 1):
        path = [tango_test(b, losses, n, margin=margin).statistic for b in range(n - losses + 1)]
        assert all(a <= b + 1e-9 for a, b in itertools.pairwise(path))


def test_implausible_null():
    """All losses never read as evidence for tuned, however implausible the null is."""
    assert exact_unconditional(0, 20, 20, margin=0.0).p_value == 1
    assert exact_unconditional(0, 20, 20, margin=0.5).p_value == 1
    assert exact_unconditional(20, 0, 20, margin=-0.5).p_value < 0.01


def test_all_ties():
    """All ties have p = 1 at margin 0 and a small one far above the tolerance."""
    assert exact_unconditional(0, 0, 30, margin=0.0).p_value == 1
    assert exact_unconditional(0, 0, 30, margin=-0.3).p_value < 0.05


def test_fast():
    """A thousand cases take well under a second."""
    start = time.perf_counter()
    exact_unconditional(150, 100, 1000, margin=0.02)

    assert time.perf_counter() - start < 1


@PROPERTY
@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)).filter(
            lambda x: x[0] + x[1] <= x[2]
        )
    ),
    st.floats(-0.9, 0.9),
)
def test_valid(data, margin):
    """It is a probability for every sample, with the score statistic beside it."""
    result = exact_unconditional(*data, margin=margin)

    assert 0.0025 <= result.p_value <= 1
    assert result.statistic == tango_test(*data, margin=margin).statistic


@pytest.mark.parametrize(
    ("arguments", "margin", "message"),
    [
        ((1, 1, 0), 0.0, r"n=0 must"),
        ((4, 4, 7), 0.0, r"wins\+losses=8 must"),
        ((1, 1, 7), -1.0, r"margin=-1\.0 must"),
        ((1, 1, 7), math.inf, r"margin=inf must"),
    ],
)
def test_refuses(arguments, margin, message):
    """Impossible counts and margins are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        exact_unconditional(*arguments, margin=margin)
