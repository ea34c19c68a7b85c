"""Distribution functions and the root finder: the few functions that wrap or replace scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from tests.property_settings import examples
from tunegate.harness.stats import distributions
from tunegate.harness.stats.binary import tango_z

PROPERTY = examples(100)


@pytest.mark.parametrize(
    ("function", "low", "high", "expected"),
    [
        (lambda x: x**3, -1, 2, 0.0),
        (lambda x: math.exp(x) - 1, -5, 7, 0.0),
        (lambda x: x - 1e-9, -1, 1, 1e-9),
        (lambda x: x - 1, 1, 2, 1.0),
        (lambda x: 1 - x, 1, 2, 1.0),
        (lambda x: x - 2, 1, 2, 2.0),
        (lambda x: 2 - x, 1, 2, 2.0),
        (lambda x: x**3 - 8, 0, 2, 2.0),
        (lambda x: x - 3, -1e300, 1e300, 3.0),
        (lambda x: math.copysign(math.inf, x - 0.4), 0, 1, 0.4),
        (lambda x: 1.0 if x > 0.3 else -1.0, 0, 1, 0.3),
        (lambda x: math.atan(1e6 * (x - 0.7)), 0, 1, 0.7),
    ],
    ids=[
        "flat",
        "steep",
        "near zero",
        "rising at low",
        "falling at low",
        "rising at high",
        "falling at high",
        "cube at high",
        "wide",
        "infinite",
        "a step",
        "nearly a step",
    ],
)
def test_root(function, low, high, expected):
    """The zero is found to within 1e-13, at an end and at a jump as well."""
    found = distributions.find_root(function, low, high)

    # x cubed is below the smallest square of a float far from its zero: only f(x) can be small.
    assert abs(found - expected) < 1e-13 or abs(function(found)) < 1e-30


@PROPERTY
@given(st.integers(1, 3000), st.data())
def test_root_is_that_of_scipy(n, data):
    wins = data.draw(st.integers(0, n))
    losses = data.draw(st.integers(0, n - wins))
    low, high = -1 + 1e-12, (wins - losses) / n

    def excess(margin):
        return float(tango_z(wins, losses, n, margin)) - 1.645

    if excess(low) * excess(high) < 0:
        expected = optimize.brentq(excess, low, high, xtol=1e-14)
        assert distributions.find_root(excess, low, high) == pytest.approx(expected, abs=2e-13)


@pytest.mark.parametrize(
    ("function", "low", "high", "message"),
    [
        (lambda x: 1e-200 * (x + 1), 0, 1, "must change sign between 0 and 1"),
        (lambda x: math.nan, 0, 1, "must change sign between 0 and 1: nan, nan"),
        (lambda x: math.nan if x == 1 else x - 0.5, 0, 1, "must change sign"),
        (lambda x: math.nan if 0.2 < x < 0.8 else x - 0.5, 0, 1, "must be a number at 0.5"),
    ],
    ids=["a sign that underflows", "no number", "no number at an end", "no number inside"],
)
def test_root_refuses_what_has_none(function, low, high, message):
    with pytest.raises(ValueError, match=message):
        distributions.find_root(function, low, high)


def test_root_refuses_one_sign():
    with pytest.raises(ValueError, match="must change sign between 1 and 2"):
        distributions.find_root(lambda x: x, 1, 2)


class TestExponentialSumTail:
    """exponential_sum_tail."""

    @pytest.mark.parametrize(("up", "down"), [(1, 1), (3, 1), (1, 50), (0.02, 7)])
    def test_two_terms(self, up, down):
        """P(a X > b Y) of two exponentials is a / (a + b)."""
        found = distributions.exponential_sum_tail(np.array([up, -down]), np.ones(2))

        assert found == pytest.approx(up / (up + down), rel=1e-6)

    @pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9])
    def test_two_groups(self, share):
        """k terms against m are a beta probability, and a term without weight changes nothing."""
        # Gamma(k) / (Gamma(k) + Gamma(m)) is Beta(k, m); above `share` where (1-s) X > s Y.
        weights = np.array([1 - share, -share, 0.0])
        found = distributions.exponential_sum_tail(weights, np.array([3.0, 17.0, 5.0]))

        assert found == pytest.approx(stats.beta.sf(share, 3, 17), rel=1e-6, abs=1e-12)

    def test_three_terms(self):
        """P(X + 2 Y > 3 Z), by partial fractions of the sum's density: 11/20."""
        # X + 2Y has density e^(-q/2) - e^(-q); P(3 Z < q) = 1 - e^(-q/3): the complement is
        # 1/(1/2 + 1/3) - 1/(1 + 1/3) = 6/5 - 3/4 = 9/20.
        found = distributions.exponential_sum_tail(np.array([1.0, 2.0, -3.0]), np.ones(3))

        assert found == pytest.approx(1 - 9 / 20, rel=1e-6)

    def test_one_sign(self):
        """Without a term of the other sign the sum is certainly above 0, or not."""
        assert distributions.exponential_sum_tail(np.array([1.0, 0.0]), np.ones(2)) == 1
        assert distributions.exponential_sum_tail(np.array([-1.0, 0.0]), np.ones(2)) == 0
