"""Distribution functions and the root finder: the few functions that wrap or replace scipy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

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
    """Brent's method of scipy finds the same limit of the paired score interval."""
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
    """A value that is no number never becomes a confidence limit."""
    with pytest.raises(ValueError, match=message):
        distributions.find_root(function, low, high)


def test_root_refuses_one_sign():
    """Without a change of sign there is no zero to bracket."""
    with pytest.raises(ValueError, match="must change sign between 1 and 2"):
        distributions.find_root(lambda x: x, 1, 2)
