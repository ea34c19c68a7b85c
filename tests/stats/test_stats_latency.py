"""Latency ratios and promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import mstats

from tests.property_settings import examples
from tunegate.harness.stats.binary import clopper_pearson
from tunegate.harness.stats.latency import (
    geometric_mean_ratio,
    latency_quantile,
    quantile_ratio,
    service_level,
    smallest_quantile_n,
    time_blocks,
)
from tunegate.harness.stats.paired_mean import mean_interval

PROPERTY = examples(30)


def durations(n, *, seed=1, slower=1.1):
    """Return lognormal durations of base and tuned."""
    rng = np.random.default_rng(seed)
    base = rng.lognormal(0, 0.5, n)
    return base, base * slower * rng.lognormal(0, 0.2, n)


class TestGeometricMeanRatio:
    """geometric_mean_ratio."""

    def test_by_hand(self):
        """Ratios 2 and 8 have the geometric mean 4 and the t interval of their logarithms."""
        interval = geometric_mean_ratio([1, 1], [2, 8])
        half = stats.t.ppf(0.95, 1) * math.log(2)

        assert interval.estimate == pytest.approx(4)
        assert interval.low == pytest.approx(4 * math.exp(-half))
        assert interval.high == pytest.approx(4 * math.exp(half))

    def test_same_rule_as_the_mean(self):
        base, tuned = durations(40)
        labels = np.repeat(np.arange(10), 4)
        logs = mean_interval(np.log(tuned / base), clusters=labels)
        interval = geometric_mean_ratio(base, tuned, clusters=labels)

        assert interval.low == pytest.approx(math.exp(logs.low))
        assert interval.estimate == pytest.approx(stats.gmean(tuned / base))

    def test_no_spread(self):
        """One case, or a constant ratio, has no limits; an extreme spread overflows to none."""
        for base, tuned in (([1.0], [2.0]), ([1.0, 2.0, 4.0], [2.0, 4.0, 8.0])):
            interval = geometric_mean_ratio(base, tuned)
            assert (0, math.inf) == (interval.low, interval.high)
            assert interval.estimate == pytest.approx(2)
        assert geometric_mean_ratio([1, 1], [1e-300, 1e300]).high == math.inf

    @PROPERTY
    @given(st.floats(0.001, 1000), st.integers(0, 1000))
    def test_unit_and_swap(self, unit, seed):
        """The unit cancels out; exchanging the models inverts the ratio."""
        base, tuned = durations(15, seed=seed)
        one = geometric_mean_ratio(base, tuned)
        other = geometric_mean_ratio(tuned * unit, base * unit)

        assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low))


class TestQuantileRatio:
    """quantile_ratio and smallest_quantile_n."""

    @pytest.mark.parametrize("quantile", [0.5, 0.9, 0.95])
    def test_estimate(self, quantile):
        """The estimate is the ratio of scipy's Harrell-Davis quantiles."""
        base, tuned = durations(120)
        above, below = (mstats.hdquantiles(x, prob=[quantile])[0] for x in (tuned, base))

        estimate = quantile_ratio(base, tuned, quantile=quantile, seed=7).estimate
        assert estimate == pytest.approx(above / below)

    def test_seeded(self):
        """The same seed gives the same interval, another seed nearly the same."""
        base, tuned = durations(100)
        one, again, other = (
            quantile_ratio(base, tuned, quantile=0.95, seed=seed) for seed in (7, 7, 8)
        )

        assert one == again
        assert one.low != other.low
        assert one.low == pytest.approx(other.low, rel=0.05)
        assert one.low < one.estimate < one.high

    def test_leaves_the_global_generator_alone(self):
        base, tuned = durations(20)
        before = np.random.get_state()[1].tolist()  # noqa: NPY002 - the global state is the point
        quantile_ratio(base, tuned, quantile=0.5, seed=1)

        assert before == np.random.get_state()[1].tolist()  # noqa: NPY002 - as above

    @pytest.mark.parametrize(
        ("quantile", "least"), [(0.5, 20), (0.9, 50), (0.95, 100), (0.99, 500), (0.05, 100)]
    )
    def test_smallest_n(self, quantile, least):
        """It needs five expected cases beyond the quantile and says so."""
        base, tuned = durations(least - 1)

        assert least == smallest_quantile_n(quantile)
        with pytest.raises(ValueError, match=f"n={least - 1} must be at least {least}"):
            quantile_ratio(base, tuned, quantile=quantile, seed=1)

    def test_no_spread(self):
        """Constant durations have no limits."""
        interval = quantile_ratio([1.0] * 20, [2.0] * 20, quantile=0.5, seed=1)

        assert (0, math.inf) == (interval.low, interval.high)
        assert interval.estimate == pytest.approx(2)

    def test_unit_and_level(self):
        """The unit cancels out and more confidence gives a wider interval."""
        base, tuned = durations(60)
        one = quantile_ratio(base, tuned, quantile=0.5, seed=3)
        same = quantile_ratio(base * 1000, tuned * 1000, quantile=0.5, seed=3)
        wider = quantile_ratio(base, tuned, quantile=0.5, seed=3, confidence=0.99)

        assert (one.low, one.high) == pytest.approx((same.low, same.high))
        assert wider.low < one.low < one.high < wider.high

    def test_error_rate(self):
        """p50 of 20 cases: each limit errs at about .05."""
        intervals = []
        for seed in range(400):
            base, tuned = np.random.default_rng(seed).lognormal(0, 0.5, (2, 20))
            intervals.append(quantile_ratio(base, tuned, quantile=0.5, seed=seed, resamples=400))

        assert np.mean([interval.low > 1 for interval in intervals]) < 0.08
        assert np.mean([interval.high < 1 for interval in intervals]) < 0.08


class TestServiceLevel:
    """service_level."""

    @pytest.mark.parametrize(("n", "expected"), [(58, 0.0510), (59, 0.0485)])
    def test_reference(self, n, expected):
        """With no case over the limit p95 needs 59 cases: .95^58 = .0510, .95^59 = .0485."""
        result = service_level([0.5] * n, limit=1.0)

        assert expected == round(result.p_value, 4)
        assert (0, pytest.approx(0.05)) == (result.statistic, result.margin)

    @PROPERTY
    @given(st.integers(1, 300), st.integers(0, 30), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
    def test_agrees_with_clopper_pearson(self, n, over, quantile):
        """It passes exactly if the Clopper-Pearson upper limit is at most 1 - quantile."""
        over = min(over, n)
        result = service_level([2.0] * over + [0.5] * (n - over), limit=1.0, quantile=quantile)

        assert result.p_value == pytest.approx(stats.binom.cdf(over, n, 1 - quantile))
        passes = clopper_pearson(over, n).high <= 1 - quantile
        assert passes == (result.p_value <= 0.05)

    def test_limit_itself_is_kept(self):
        """A case exactly at the limit keeps the promise; all cases over it give p = 1."""
        assert service_level([1.0], limit=1.0).statistic == 0
        assert service_level([2.0] * 5, limit=1.0).p_value == 1


BASE, TUNED = durations(30)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: geometric_mean_ratio([], []), r"base must hold at least one value"),
        (lambda: geometric_mean_ratio([1, 0], [1, 1]), r"base\[1\]=0\.0 must be positive"),
        (lambda: geometric_mean_ratio([1, 1], [1, -1]), r"tuned\[1\]=-1\.0 must be positive"),
        (lambda: geometric_mean_ratio([1, 1], [1, math.nan]), r"tuned\[1\]=nan must be finite"),
        (lambda: geometric_mean_ratio([1], [1, 1]), r"shapes=\(1,\), \(2,\) must be equal"),
        (lambda: quantile_ratio(BASE, TUNED, quantile=1.0, seed=1), r"quantile=1\.0 must"),
        (lambda: quantile_ratio(BASE, TUNED, quantile=0.5, seed=-1), r"seed=-1 must"),
        (
            lambda: quantile_ratio(BASE, TUNED, quantile=0.5, seed=1, resamples=10),
            r"resamples=10 must be a whole number of at least 200",
        ),
        (
            lambda: quantile_ratio(BASE, TUNED, quantile=0.5, seed=1, confidence=90),
            r"confidence=90 must",
        ),
        (lambda: service_level([], limit=1.0), r"durations must hold"),
        (lambda: service_level([1.0], limit=0.0), r"limit=0\.0 must be positive"),
        (lambda: service_level([1.0], limit=1.0, quantile=0.0), r"quantile=0\.0 must"),
    ],
)
def test_refuses(call, message):
    """Durations and settings out of range are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        call()


class TestQuantile:
    """quantile."""

    @pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
    def test_agrees_with_scipy(self, share):
        """It is scipy's Harrell-Davis estimate."""
        base, _ = durations(30)

        assert latency_quantile(base, share) == pytest.approx(
            mstats.hdquantiles(base, prob=[share])[0]
        )

    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_refuses_the_ends(self, share):
        """Quantiles at 0 and at 1 do not exist."""
        with pytest.raises(ValueError, match="share="):
            latency_quantile([1.0, 2.0], share)


@pytest.mark.parametrize(
    ("n", "size", "count"), [(20, 2, 10), (30, 2, 15), (31, 2, 16), (100, 4, 25), (400, 10, 40)]
)
def test_blocks_of_time_are_even_and_at_least_ten(n: int, size: int, count: int) -> None:
    """2 * round(sqrt(n) / 4) neighbours, 2 at least; the last block may be short."""
    blocks = time_blocks(n)

    assert blocks is not None
    assert len(blocks) == n
    assert len(set(blocks)) == count
    assert blocks[:size] == (blocks[0],) * size
    assert blocks[size] != blocks[0]


def test_few_times_have_no_blocks() -> None:
    """Nine blocks of two would be too few for an interval."""
    assert time_blocks(19) is None


def test_blocks_see_load_that_lasts() -> None:
    """Log-ratios in runs of four, ±0.2: the error is that of 25 blocks, not of 100 cases.

    Equal blocks without skewness: t interval of the 25 block means, by scipy.
    """
    load = np.repeat([0.2, -0.2] * 12 + [0.0], 4)
    base = np.full(100, 0.5)
    found = geometric_mean_ratio(base, base * np.exp(load), clusters=time_blocks(100))

    means = load.reshape(25, 4).mean(axis=1)
    half = stats.t.ppf(0.95, 24) * means.std(ddof=1) / 5
    assert (found.low, found.high) == pytest.approx(
        (np.exp(means.mean() - half), np.exp(means.mean() + half)), rel=1e-9
    )
