"""The exact unconditional tests of paired 0/1 scores: the worst case, and at the estimated null."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from tests.property_settings import examples
from tunegate.harness.stats.binary import exact_at_estimate, exact_unconditional, tango_test

PROPERTY = examples(25)


def as_extreme(wins, losses, n, margin):
    """Return every table whose score statistic is at least as large."""
    observed = tango_test(wins, losses, n, margin=margin).statistic
    return [
        (b, c)
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if tango_test(b, c, n, margin=margin).statistic >= observed - 1e-9
    ]


def rejects(wins, losses, n, margin, alpha, points=121):
    """Return whether Berger and Boos' test rejects at `alpha`, summed cell by cell."""
    extreme = as_extreme(wins, losses, n, margin)
    gamma = alpha / 20
    tail = gamma / 2
    low = stats.beta.ppf(tail, losses, n - losses + 1) if losses else 0
    high = stats.beta.ppf(1 - tail, losses + 1, n - losses) if losses < n else 1
    low, high = np.clip([low, high], max(0, -margin), (1 - margin) / 2)
    worst = 0.0
    for q in np.linspace(low, high, points):
        cells = [q + margin, q, max(0.0, 1 - margin - 2 * q)]
        tables = [(b, c, n - b - c) for b, c in extreme]
        worst = max(worst, float(stats.multinomial.pmf(tables, n, cells).sum()))
    return worst + gamma <= alpha


def test_reference():
    """9 wins and 1 loss of 50 against .05 give .0405, where the score test says .0300."""
    # With gamma = .0025 the published p-value is .0410, so the worst case is .0385; the smallest
    # level at which .0385 + level/20 <= level is .0385/.95 = .0405.
    assert round(exact_unconditional(9, 1, 50, margin=0.05).p_value, 4) == 0.0405
    assert round(tango_test(9, 1, 50, margin=0.05).p_value, 4) == 0.0300


def test_published():
    """Without the Berger-Boos term it doubles to Suissa and Shuster's .0353 for 1 : 7 of 21."""
    p_value = exact_unconditional(7, 1, 21, margin=0.0).p_value

    # 19/20 of the p-value is the worst case.
    assert round(2 * p_value * 0.95, 4) == 0.0353


@pytest.mark.parametrize(
    ("wins", "losses", "n", "margin"),
    [(5, 1, 12, 0.0), (6, 0, 12, 0.1), (2, 2, 10, -0.2), (0, 3, 8, -0.3), (4, 1, 14, 0.05)],
)
def test_brute_force(wins, losses, n, margin):
    """The test summed cell by cell rejects just above the p-value, and not just below."""
    p_value = exact_unconditional(wins, losses, n, margin=margin).p_value

    assert p_value == 1 or rejects(wins, losses, n, margin, p_value * 1.01)
    assert not rejects(wins, losses, n, margin, p_value * 0.94)


def test_strict_levels():
    """A large gain passes at the strict levels of early looks, here z = 3.53 or .0002."""
    # 20 wins of 32 against .05: the score statistic is 4.19, the normal limit of p .000014.
    assert exact_unconditional(20, 0, 32, margin=0.05).p_value < 0.0001


@pytest.mark.parametrize(
    ("wins", "losses", "n", "margin"),
    [(5, 1, 12, 0.0), (6, 0, 12, 0.1), (2, 2, 10, -0.2), (0, 3, 8, -0.3), (4, 1, 14, -0.05)],
)
def test_at_estimate_brute_force(wins, losses, n, margin):
    def cells(loss):
        return [loss + margin, loss, max(1 - margin - 2 * loss, 1e-300)]

    def minus_log(loss):
        seen = (wins, losses, n - wins - losses)
        return -sum(k * math.log(p) for k, p in zip(seen, cells(loss), strict=True) if k)

    found = optimize.minimize_scalar(
        minus_log,
        bounds=(max(0, -margin) + 1e-12, (1 - margin) / 2 - 1e-12),
        method="bounded",
        options={"xatol": 1e-12},
    )
    tables = [(b, c, n - b - c) for b, c in as_extreme(wins, losses, n, margin)]
    expected = float(stats.multinomial.pmf(tables, n, cells(found.x)).sum())

    p_value = exact_at_estimate(wins, losses, n, margin=margin).p_value
    assert p_value == pytest.approx(expected, rel=1e-6)


def test_at_estimate_by_hand():
    """Without a discordant pair it is the chance to see no loss: .95^n, at most .05 from 59 on."""
    assert exact_at_estimate(0, 0, 59, margin=-0.05).p_value == pytest.approx(0.95**59)
    assert 0.95**59 < 0.05 < 0.95**58


def test_at_estimate_all_ties_and_all_losses():
    """All ties have p = 1 at margin 0, and so have all losses at any margin."""
    assert exact_at_estimate(0, 0, 30, margin=0.0).p_value == 1
    assert exact_at_estimate(0, 20, 20, margin=-0.5).p_value == pytest.approx(1)


@pytest.mark.parametrize(
    ("margin", "slope", "message"),
    [(-1.0, 1.0, r"margin=-1\.0 must"), (0.5, 0.5, r"margin=0\.5 must"), (0.0, 0.0, r"slope=0\.0")],
)
def test_at_estimate_refuses(margin, slope, message):
    """A margin or slope without a null hypothesis is refused by name and value."""
    with pytest.raises(ValueError, match=message):
        exact_at_estimate(1, 1, 7, margin=margin, slope=slope)


def test_at_estimate_of_many_cases():
    start = time.perf_counter()
    p_value = exact_at_estimate(1000, 1000, 100_000, margin=-0.001).p_value

    assert time.perf_counter() - start < 1
    # Normal limit: z = 100 / sqrt(2100), the variance of the null nearest to 1000 and 1000.
    assert p_value == pytest.approx(stats.norm.sf(100 / math.sqrt(2000)), abs=0.001)


@pytest.mark.parametrize("margin", [-0.5, -0.05, 0.0, 0.05, 0.4])
def test_statistic_grows_with_wins(margin):
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

    assert 0 <= result.p_value <= 1
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
