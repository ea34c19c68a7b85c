"""Jackknife interval of corpus metrics."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.property_settings import examples
from tests.t_and_hall import envelope, hall_limits, t_limits
from tunegate.harness.stats.corpus_jackknife import jackknife_interval, jackknife_replicates

PROPERTY = examples(50)

BASE = [[3, 1, 0], [2, 0, 1], [1, 1, 1], [4, 0, 0], [0, 1, 2], [2, 2, 1], [3, 0, 1], [1, 0, 0]]
TUNED = [[3, 0, 0], [2, 1, 1], [2, 0, 0], [4, 0, 0], [1, 1, 1], [3, 1, 0], [3, 0, 1], [1, 0, 0]]


def micro_f1(sums):
    """Return 2 tp / (2 tp + fp + fn)."""
    return 2 * sums[0] / (2 * sums[0] + sums[1] + sums[2])


def mean(sums):
    """Return the mean of column 0, with the cases counted in column 1."""
    return sums[0] / sums[1]


def test_reference():
    """Eight cases of micro-F1 give .1195 with t's lower limit and Hall's upper one.

    t's are (-.0151, .2540); Hall's are for 1.4 times the skewness, as no bound is known.
    """
    interval = jackknife_interval(BASE, TUNED, micro_f1)
    measured = jackknife_replicates(TUNED, micro_f1).combined(
        jackknife_replicates(BASE, micro_f1), -1.0
    )

    # base: tp 16, fp 5, fn 6 -> 32/43; tuned: 19, 3, 3 -> 38/44
    assert interval.estimate == pytest.approx(38 / 44 - 32 / 43)
    by_t, by_hall = (
        t_limits(measured.pseudo_values),
        hall_limits(measured.pseudo_values, factor=1.4),
    )
    assert (round(by_t[0], 4), round(by_t[1], 4)) == (-0.0151, 0.2540)
    assert interval.low == pytest.approx(by_t[0])
    assert interval.high == pytest.approx(by_hall[1])


def test_mean_is_that_of_the_cases():
    rng = np.random.default_rng(3)
    base, tuned = rng.normal(0, 1, 25), rng.normal(0.2, 1, 25)
    ones = np.ones(25)
    interval = jackknife_interval(
        np.column_stack([base, ones]), np.column_stack([tuned, ones]), mean
    )

    expected = envelope(tuned - base, factor=1.4)
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_one_system():
    """Without a peer the replicates are the metric itself: micro-F1 of base is 32/43."""
    interval = jackknife_replicates(BASE, micro_f1).interval(bound=1.0)

    assert interval.estimate == pytest.approx(32 / 43)
    assert interval.low < 32 / 43 < interval.high


def test_pseudo_values_carry_estimate_and_error():
    measured = jackknife_replicates(TUNED, micro_f1)
    values = measured.pseudo_values
    interval = measured.interval(confidence=0.9)

    assert values.mean() == pytest.approx(38 / 44)
    assert (interval.low, interval.high) == pytest.approx(envelope(values, factor=1.4))


def test_combined_and_scaled_replicates_are_those_of_the_combined_metric():
    """2 · (tuned − base / 2) + 1, as a function of both systems' sums."""

    def combined(sums):
        return 2 * (micro_f1(sums[3:]) - micro_f1(sums[:3]) / 2) + 1

    theirs = jackknife_replicates(np.column_stack([BASE, TUNED]), combined)
    ours = jackknife_replicates(TUNED, micro_f1).combined(
        jackknife_replicates(BASE, micro_f1), -0.5
    )
    ours = ours.scaled(2.0, shift=1.0)

    assert ours.value == pytest.approx(theirs.value)
    assert ours.left_out == pytest.approx(theirs.left_out)


@PROPERTY
@given(st.floats(0.5, 0.98), st.floats(-0.3, 0.3))
def test_interval_and_test_agree(confidence, margin):
    measured = jackknife_replicates(TUNED, micro_f1).combined(
        jackknife_replicates(BASE, micro_f1), -1.0
    )
    interval = measured.interval(confidence=confidence)
    found = measured.test(margin=margin)

    assert (interval.low > margin) == (found.p_value < (1 - confidence) / 2)
    assert measured.test(margin=interval.low).p_value == pytest.approx((1 - confidence) / 2)


def test_nothing_is_tested_without_spread():
    measured = jackknife_replicates(BASE, micro_f1).combined(
        jackknife_replicates(BASE, micro_f1), -1.0
    )

    assert measured.test(margin=-0.5).p_value == 1.0
    assert measured.test(margin=-0.5, bound=1.0).p_value < 1.0


def test_identical_systems():
    """Equal systems have no spread: no limits, or with a bound those of 160 successes of 160."""
    free = jackknife_interval(BASE, BASE, micro_f1)
    interval = jackknife_interval(BASE * 20, BASE * 20, micro_f1, bound=1.0)
    half = 1 - stats.binomtest(160, 160).proportion_ci(0.9, "exact").low

    assert (0.0, -math.inf, math.inf) == (free.estimate, free.low, free.high)
    assert (-half, half) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("n", [50, 100, 200])
def test_rare_failures(n):
    """A share of the cases loses all it found and nothing else changes: exact error at most .06.

    All cases have 5 things and base finds 3 of them, so the number of failures is all there is.
    """
    base = np.array([[3, 1, 1]] * n)
    lows = []
    for failures in range(n // 3):
        tuned = base.copy()
        tuned[:failures] = [0, 4, 4]
        lows.append(jackknife_interval(base, tuned, micro_f1, bound=1.0).low)
    share = np.linspace(1e-3, 0.2, 400)[:, np.newaxis]
    truth = -share * 0.75
    chance = stats.binom.pmf(np.arange(len(lows)), n, share)

    assert (chance * (np.array(lows) > truth + 1e-12)).sum(axis=1).max() <= 0.06


def test_one_case():
    """One case has an estimate and no limits but the bound."""
    interval = jackknife_interval([[1, 1, 0]], [[2, 0, 0]], micro_f1, bound=1.0)

    assert (pytest.approx(interval.estimate), interval.low, interval.high) == (1 / 3, -1, 1)


@PROPERTY
@given(st.permutations(range(8)), st.floats(0.5, 0.98))
def test_symmetry_order_and_level(order, confidence):
    base, tuned = np.array(BASE)[list(order)], np.array(TUNED)[list(order)]
    one = jackknife_interval(BASE, TUNED, micro_f1, confidence=confidence)
    other = jackknife_interval(tuned, base, micro_f1, confidence=confidence)
    wider = jackknife_interval(base, tuned, micro_f1, confidence=confidence + 0.01)

    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert wider.low < one.low < one.high < wider.high


def test_error_rate():
    """Micro-F1 of 20 cases: each limit errs at about .05."""
    rng = np.random.default_rng(5)
    chance = (0.65, 0.2, 0.15)
    intervals = []
    for _ in range(600):
        sizes = rng.integers(1, 6, 20)
        base = np.array([rng.multinomial(size, chance) for size in sizes])
        tuned = np.array([rng.multinomial(size, chance) for size in sizes])
        intervals.append(jackknife_interval(base, tuned, micro_f1))

    assert np.mean([interval.low > 0 for interval in intervals]) < 0.08
    assert np.mean([interval.high < 0 for interval in intervals]) < 0.08


@pytest.mark.parametrize(
    ("base", "tuned", "options", "message"),
    [
        ([], [], {}, r"base_stats\.shape=\(0,\) must be"),
        ([1, 2], [1, 2], {}, r"base_stats\.shape=\(2,\) must be"),
        (BASE, TUNED[:-1], {}, r"shapes=\(8, 3\), \(7, 3\) must be equal"),
        (BASE, [*TUNED[:-1], [1, math.nan, 0]], {}, r"tuned_stats\[7\]=\[1\.0, nan, 0\.0\] must"),
        ([[1, 0, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]], {}, r"statistic\(.*\)=nan must be finite"),
        (BASE, TUNED, {"confidence": 1.5}, r"confidence=1\.5 must"),
        (BASE, TUNED, {"bound": 0.0}, r"bound=0\.0 must be positive"),
        (BASE, TUNED, {"bound": 0.1}, r"bound=0\.1 must be at least the observed"),
    ],
)
def test_refuses(base, tuned, options, message):
    """Tables that do not pair up and metrics that break down are refused."""
    with pytest.raises(ValueError, match=message):
        jackknife_interval(base, tuned, micro_f1, **options)


def test_refuses_division_by_zero():
    with pytest.raises(ValueError, match=r"=nan must be finite"):
        jackknife_interval([[0, 0]], [[0, 0]], lambda sums: int(sums[0]) / int(sums[1]))
