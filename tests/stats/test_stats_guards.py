"""Guards beside the mean: severe drops, retention above chance and the skewness warning."""

import math

import numpy as np
import pytest
from scipy import stats

from tunegate.harness.stats.paired_mean import (
    mean_interval,
    retention_interval,
    severe_drops,
    skewness_warning,
)


class TestSevereDrops:
    """severe_drops."""

    @pytest.mark.parametrize(
        ("n", "drops", "most"), [(29, 0, 0.10), (59, 0, 0.05), (149, 0, 0.02), (46, 1, 0.10)]
    )
    def test_cases_needed(self, n, drops, most):
        """The fewest cases that certify a share of drops are those of the binomial."""
        values = [-0.8] * drops + [0.1] * n

        assert severe_drops(values[:n]).high <= most
        assert severe_drops(values[: n - 1]).high > most

    def test_threshold(self):
        """A loss of exactly the threshold counts, whatever the rounding."""
        assert severe_drops([0.2 - 0.7, -0.5, -0.49, 0.6]).estimate == 0.5
        assert severe_drops([0.2 - 0.7, -0.3, -0.2, 0.6], drop=0.3).estimate == 0.5


class TestRetentionInterval:
    """retention_interval."""

    BASE = [1, 1, 0, 1, 1, 0, 1, 1, 1, 0] * 10
    TUNED = [1, 1, 0, 1, 1, 0, 1, 0, 1, 1] * 10

    def test_reference(self):
        """Keeping .9 of .7 over chance .25 gives .045 (-.0269, .1162)."""
        interval = retention_interval(self.BASE, self.TUNED, retention=0.9, chance=0.25)
        contrast = (np.array(self.TUNED) - 0.25) - 0.9 * (np.array(self.BASE) - 0.25)
        t = stats.ttest_1samp(contrast, 0).confidence_interval(0.9)

        assert (round(interval.low, 4), round(interval.high, 4)) == (-0.0269, 0.1162)
        assert interval.estimate == pytest.approx(0.45 - 0.9 * 0.45)
        assert interval.low <= t.low + 1e-12
        assert interval.high >= t.high - 1e-12

    def test_full_retention_is_the_difference(self):
        """Retention 1 is the plain difference, whatever chance is."""
        interval = retention_interval(self.BASE, self.TUNED, retention=1.0, chance=0.25)
        plain = mean_interval(np.subtract(self.TUNED, self.BASE), bound=1.0)

        assert (interval.low, interval.high) == pytest.approx((plain.low, plain.high))

    def test_no_spread(self):
        """Two faultless models keep a width."""
        interval = retention_interval([1] * 30, [1] * 30, retention=0.9, chance=0.25)

        assert interval.estimate == pytest.approx(0.075)
        assert interval.low < 0 < interval.high

    @pytest.mark.parametrize(
        ("base", "tuned", "retention", "chance", "message"),
        [
            ([1.2], [1], 0.9, 0.25, r"base\[0\]=1\.2 must lie between 0 and 1"),
            ([1, 0], [1], 0.9, 0.25, r"base, tuned shapes=\(2,\), \(1,\) must be equal"),
            ([1], [1], 0.0, 0.25, r"retention=0\.0 must"),
            ([1], [1], 0.9, 1.0, r"chance=1\.0 must"),
        ],
    )
    def test_refuses(self, base, tuned, retention, chance, message):
        """Scores and settings out of range are refused by name and value."""
        with pytest.raises(ValueError, match=message):
            retention_interval(base, tuned, retention=retention, chance=chance)


class TestSkewnessWarning:
    """skewness_warning."""

    def test_threshold(self):
        """One outlier of n = 30 warns (g = 5.2), of n = 2000 with company it does not."""
        assert stats.skew([0] * 29 + [1]) / math.sqrt(30) > 0.3
        assert skewness_warning([0] * 29 + [1])
        assert not skewness_warning(([0] * 29 + [1]) * 70)
        assert not skewness_warning([-0.2, -0.1, 0.0, 0.1, 0.3])

    def test_no_spread(self):
        """Constant data are not skewed."""
        assert not skewness_warning([0.1] * 5)
        assert not skewness_warning([0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: severe_drops([0.1], drop=0.0), r"drop=0\.0 must"),
        (lambda: severe_drops([]), r"differences must hold"),
        (lambda: skewness_warning([]), r"differences must hold"),
    ],
)
def test_refuses(call, message):
    """Missing data and settings out of range are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        call()
