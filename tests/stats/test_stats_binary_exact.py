"""The exact companion of the score test at the estimated null, and the intervals of both."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from tests.property_settings import examples
from tunegate.harness.stats.binary import (
    deciding_interval,
    deciding_ratio_interval,
    exact_at_estimate,
    ratio_test,
    tango_interval,
    tango_test,
)

PROPERTY = examples(25)
COUNTS = st.integers(1, 40).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)).filter(
        lambda x: x[0] + x[1] <= x[2]
    )
)
"""Wins, losses and cases."""


def as_extreme(wins, losses, n, margin):
    """Return every table whose score statistic is at least as large."""
    observed = tango_test(wins, losses, n, margin=margin).statistic
    return [
        (b, c)
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if tango_test(b, c, n, margin=margin).statistic >= observed - 1e-9
    ]


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
    p_value = exact_at_estimate(1000, 1000, 100_000, margin=-0.001).p_value

    # Normal limit: z = 100 / sqrt(2100), the variance of the null nearest to 1000 and 1000.
    assert p_value == pytest.approx(stats.norm.sf(100 / math.sqrt(2000)), abs=0.001)


@pytest.mark.parametrize("margin", [-0.5, -0.05, 0.0, 0.05, 0.4])
def test_statistic_grows_with_wins(margin):
    n = 30
    for losses in range(n + 1):
        path = [tango_test(b, losses, n, margin=margin).statistic for b in range(n - losses + 1)]
        assert all(a <= b + 1e-9 for a, b in itertools.pairwise(path))


@pytest.mark.parametrize(
    ("n", "alpha", "limit"),
    [
        # A loss of m is not seen in n cases with probability (1 - m)^n, which is .05 here ...
        (59, 0.05, 1 - 0.05 ** (1 / 59)),
        (100, 0.05, 1 - 0.05 ** (1 / 100)),
        # ... and Tango's z^2 / (n + z^2) is larger at small errors.
        (200, 0.025, 1.959964**2 / (200 + 1.959964**2)),
    ],
)
def test_interval_without_a_discordant_pair(n, alpha, limit):
    found = deciding_interval(0, 0, n, confidence=1 - 2 * alpha)

    assert found.low == pytest.approx(-limit, abs=1e-7)
    assert found.high == -found.low


@pytest.mark.parametrize("n", [7, 16])
def test_interval_and_tests_agree_on_every_sample(n):
    """A margin further than .006 from a limit is rejected by both tests where it is outside."""
    margins = np.linspace(-0.9, 0.9, 37)
    for wins in range(n + 1):
        for losses in range(n + 1 - wins):
            low = deciding_interval(wins, losses, n).low
            for margin in margins[np.abs(margins - low) > 0.006].tolist():
                tests = (tango_test, exact_at_estimate)
                p_value = max(t(wins, losses, n, margin=margin).p_value for t in tests)
                assert (p_value <= 0.05) == (low > margin), (wins, losses, margin)


@PROPERTY
@given(COUNTS, st.sampled_from([0.80, 0.90, 0.95, 0.999]))
def test_interval_holds_the_score_interval(data, confidence):
    """The companion can only widen it, alike for exchanged arms."""
    wins, losses, n = data
    found = deciding_interval(wins, losses, n, confidence=confidence)
    score = tango_interval(wins, losses, n, confidence=confidence)
    mirror = deciding_interval(losses, wins, n, confidence=confidence)

    assert -1 <= found.low <= score.low <= found.estimate <= score.high <= found.high <= 1
    assert (mirror.low, mirror.high) == (-found.high, -found.low)


@pytest.mark.parametrize("counts", [(0, 2, 58), (3, 5, 75), (9, 1, 30), (0, 0, 40)])
def test_ratio_interval_ends_where_the_tests_turn(counts):
    wins, losses, both = counts
    n = sum(counts)
    found = deciding_ratio_interval(wins, losses, both)

    for ratio, rejected in ((found.low - 1e-3, True), (found.low + 1e-3, False)):
        exact = exact_at_estimate(wins, losses, n, margin=ratio - 1, slope=ratio).p_value
        score = ratio_test(wins, losses, both, ratio=ratio).p_value
        assert (max(exact, score) <= 0.05) is rejected


@pytest.mark.parametrize(
    ("arguments", "margin", "message"),
    [
        ((1, 1, 0), 0.0, r"n=0 must"),
        ((4, 4, 7), 0.0, r"wins\+losses=8 must"),
        ((1, 1, 7), math.inf, r"margin=inf must"),
    ],
)
def test_refuses(arguments, margin, message):
    """Impossible counts and margins are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        exact_at_estimate(*arguments, margin=margin)
