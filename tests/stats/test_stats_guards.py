"""Guards beside the mean: severe drops and the skewness warning."""

import math

import pytest
from scipy import stats

from tunegate.harness.stats.paired_mean import severe_drops, skewness_warning


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
