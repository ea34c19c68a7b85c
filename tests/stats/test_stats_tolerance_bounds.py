"""What a gate's sample promises: limits against other libraries and by simulation."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tunegate.harness.stats.tolerance_bounds import (
    OrderStatistic,
    order_statistic,
    worst_clustered_mean,
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


@pytest.mark.parametrize("law", [stats.lognorm(1), stats.poisson(2)])
def test_the_share_above_an_order_statistic_errs_as_stated(law):
    rng = np.random.default_rng(6)
    missed = 0
    for _ in range(1000):
        limit = order_statistic(law.rvs(size=50, random_state=rng), 0.9)
        missed += law.sf(limit.value) > worst_rate(limit.above, limit.n, alpha=0.1)

    assert missed / 1000 <= 0.1 + 3 * np.sqrt(0.09 / 1000)


@pytest.mark.parametrize("alpha", [0, 0.5, -1])
def test_alpha(alpha):
    """An error that makes no sense is refused by name."""
    for call in (
        lambda: worst_rate(1, 2, alpha=alpha),
        lambda: worst_mean([0.5], alpha=alpha),
        lambda: worst_clustered_mean([0.0, 1.0], [1, 2], alpha=alpha),
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


def test_clusters_that_always_agree_tell_as_much_as_one_case_each() -> None:
    losses = np.repeat([1.0] * 6 + [0.0] * 94, 2)
    found = worst_clustered_mean(losses, np.repeat(range(100), 2), alpha=0.05)

    assert found == pytest.approx(worst_rate(6, 100, alpha=0.05), abs=1e-6)
    assert worst_clustered_mean([1.0] * 4, [0, 0, 1, 1], alpha=0.05) == 1.0


def test_the_mean_of_clusters_of_unequal_size_errs_seldom() -> None:
    """One call in half of the clusters, which then fails often; eight that fail alike in others."""
    rng = np.random.default_rng(7)
    missed = 0
    for _ in range(200):
        sizes = rng.choice([1, 8], size=120)
        lost = rng.random(120) < np.where(sizes == 1, 0.2, 0.02)
        losses, clusters = np.repeat(lost, sizes), np.repeat(range(120), sizes)
        # (.5 * .2 + .5 * 8 * .02) / 4.5
        missed += worst_clustered_mean(losses, clusters, alpha=0.05) < 0.04

    assert missed / 200 <= 0.05
