"""What a gate's sample promises: limits against other libraries and by simulation."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tunegate.harness.stats.tolerance_bounds import (
    OrderStatistic,
    order_statistic,
    worst_clustered_rate,
    worst_excess,
    worst_mean,
    worst_rate,
)


def test_worst_rate():
    """The upper Clopper-Pearson limit, as statsmodels has it."""
    expected = proportion_confint(3, 50, alpha=0.1, method="beta")[1]

    assert worst_rate(3, 50, alpha=0.05) == pytest.approx(expected, abs=1e-12)
    assert worst_rate(50, 50, alpha=0.05) == 1.0
    # (1 - p)^n = alpha
    assert worst_rate(0, 50, alpha=0.05) == pytest.approx(1 - 0.05 ** (1 / 50))


def test_worst_mean():
    """It is above the mean, falls with n, and never leaves 0 to 1."""
    few, many = [0.2, 0.4] * 10, [0.2, 0.4] * 200

    assert 0.3 < worst_mean(many, alpha=0.05) < worst_mean(few, alpha=0.05) < 1
    assert worst_mean([1.0] * 30, alpha=0.05) == 1.0


def test_worst_mean_errs_seldom():
    """Of 300 samples of a skewed score, at most the stated share has its true mean above."""
    rng = np.random.default_rng(5)
    samples = rng.beta(1, 9, size=(300, 40))

    missed = np.mean([worst_mean(sample, alpha=0.1) < 0.1 for sample in samples])

    assert missed <= 0.1


def test_threshold():
    """The ninth of ten values is the 0.9 quantile, and one comes after it."""
    assert order_statistic([5, 1, 4, 2, 3, 10, 9, 8, 7, 6], 0.9) == OrderStatistic(9.0, 1, 10)
    assert order_statistic([7.0], 0.9) == OrderStatistic(7.0, 0, 1)
    assert order_statistic([1, 2], 0.01) == OrderStatistic(1.0, 1, 2)


def test_worst_excess():
    """Of the largest of n values: the share above it is 1 - U^(1/n)."""
    # P(share > x) = (1 - x)^n
    expected = 1 - 0.05 ** (1 / 20)

    assert worst_excess(OrderStatistic(9.0, 0, 20), alpha=0.05) == pytest.approx(expected)


@pytest.mark.parametrize("law", [stats.lognorm(1), stats.poisson(2)])
def test_worst_excess_errs_as_stated(law):
    rng = np.random.default_rng(6)
    missed = 0
    for _ in range(1000):
        limit = order_statistic(law.rvs(size=50, random_state=rng), 0.9)
        missed += law.sf(limit.value) > worst_excess(limit, alpha=0.1)

    assert missed / 1000 <= 0.1 + 3 * np.sqrt(0.09 / 1000)


@pytest.mark.parametrize("alpha", [0, 0.5, -1])
def test_alpha(alpha):
    """An error that makes no sense is refused by name."""
    for call in (
        lambda: worst_rate(1, 2, alpha=alpha),
        lambda: worst_mean([0.5], alpha=alpha),
        lambda: worst_excess(OrderStatistic(1.0, 0, 2), alpha=alpha),
    ):
        with pytest.raises(ValueError, match=f"alpha={alpha}"):
            call()


def test_bad_values():
    """Counts and values that make no sense are refused."""
    with pytest.raises(ValueError, match="k=3"):
        worst_rate(3, 2, alpha=0.05)
    with pytest.raises(ValueError, match=r"values\[0\]=2.0"):
        worst_mean([2.0], alpha=0.05)
    with pytest.raises(ValueError, match="values must hold"):
        order_statistic([], 0.5)


class TestClusters:
    """worst_clustered_rate."""

    def test_clusters_of_one(self):
        """With one case a cluster it is the limit of Clopper and Pearson for 99 % of the cases.

        The jackknife's variance is n/(n-1) times the naive one.
        """
        losses = [1.0] * 6 + [0.0] * 94

        found = worst_clustered_rate(losses, list(range(100)), alpha=0.05)

        assert found == pytest.approx(stats.beta.ppf(0.95, 6 * 0.99 + 1, 94 * 0.99))

    def test_clusters_that_always_agree(self):
        """Pairs that always agree tell as much as half the cases, but for the degrees of freedom.

        G = 100, n = 200, k = 12: design effect 2 G/(G-1) by the jackknife over the naive variance.
        """
        losses = np.repeat([1.0] * 6 + [0.0] * 94, 2)
        few = stats.t.isf(0.05, 99) / stats.t.isf(0.05, 199)
        n = 200 / (2 * 100 / 99 * few**2)

        found = worst_clustered_rate(losses, np.repeat(range(100), 2), alpha=0.05)

        assert found == pytest.approx(stats.beta.ppf(0.95, 0.06 * n + 1, n - 0.06 * n))

    def test_nothing_lost(self):
        """Without a loss nothing shows how far pairs agree: they count as if they always did."""
        found = worst_clustered_rate([0.0] * 200, np.repeat(range(100), 2), alpha=0.05)

        assert found >= worst_rate(0, 100, alpha=0.05)
        assert worst_clustered_rate([1.0] * 4, [0, 0, 1, 1], alpha=0.05) == 1.0

    def test_errs_seldom(self):
        """Of 400 samples of 60 correlated pairs, about the stated share has its true rate above."""
        rng = np.random.default_rng(7)
        missed = 0
        for _ in range(400):
            own = rng.beta(1, 9, size=60)  # intraclass correlation 1/11
            losses = (rng.random((2, 60)) < own).T.ravel().astype(float)
            missed += worst_clustered_rate(losses, np.repeat(range(60), 2), alpha=0.05) < 0.1

        assert missed / 400 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
