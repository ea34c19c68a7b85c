"""Judged difference against length."""

import numpy as np
import pytest
import statsmodels.api as sm

from tunegate.harness.stats.judge_bias import length_fit


def sample(slope, n=60, seed=4):
    """Return differences that grow with the length ratio, noisier for long answers."""
    rng = np.random.default_rng(seed)
    ratios = rng.normal(0.3, 0.5, n)
    return 0.1 + slope * ratios + rng.normal(0, 0.1 + 0.2 * abs(ratios)), ratios


def test_library():
    """Estimates and HC3 intervals are those of statsmodels."""
    differences, ratios = sample(0.2)
    for x, ours in (
        (ratios, "equal"),
        (ratios - ratios.mean(), "level"),
    ):
        fitted = sm.OLS(differences, sm.add_constant(x)).fit(cov_type="HC3", use_t=True)
        limits = fitted.conf_int(alpha=0.1)
        found = length_fit(differences, ratios)
        interval = getattr(found, ours)
        assert (interval.low, interval.high) == pytest.approx(tuple(limits[0]))
        assert (found.slope.low, found.slope.high) == pytest.approx(tuple(limits[1]))


def test_a_judge_of_length_is_found():
    """A slope of .3 lies clearly above zero; the level at equal length is the constant."""
    found = length_fit(*sample(0.3, n=400))

    assert found.slope.low > 0.2
    assert found.equal.low < 0.1 < found.equal.high


def test_no_length_no_slope():
    held = [
        found.slope.low <= 0 <= found.slope.high
        for seed in range(200)
        for found in [length_fit(*sample(0.0, n=40, seed=seed))]
    ]
    assert 0.85 <= np.mean(held) <= 0.96


@pytest.mark.parametrize(
    ("differences", "ratios", "message"),
    [
        ([1, 2, 3], [1, 2, 3], "number of differences=3 must"),
        ([1, 2, 3, 4], [0.5] * 4, "log_ratios=0.5 must not all be equal"),
        ([1, 2, 3, 4], [1, 2, 3], "differences, log_ratios shapes"),
    ],
)
def test_refuses(differences, ratios, message):
    """Columns that do not fit are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        length_fit(differences, ratios)
