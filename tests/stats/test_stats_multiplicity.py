"""Adjusted p-values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tests.property_settings import examples
from tunegate.harness.stats.multiplicity import benjamini_hochberg, holm

PROPERTY = examples(60)

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_holm():
    """[.012, .03, .2] becomes [.036, .06, .2]: times 3, 2 and 1, in the order given."""
    assert holm([0.012, 0.03, 0.2]).tolist() == pytest.approx([0.036, 0.06, 0.2])
    assert holm([0.2, 0.012, 0.03]).tolist() == pytest.approx([0.2, 0.036, 0.06])
    # The running maximum: 2 * .03 = .06 lifts the .04 that follows it.
    assert holm([0.01, 0.03, 0.04]).tolist() == pytest.approx([0.03, 0.06, 0.06])


@PROPERTY
@given(p_lists)
def test_holm_is_that_of_statsmodels(p_values):
    expected = multipletests(p_values, method="holm")[1]

    assert holm(p_values).tolist() == pytest.approx(expected.tolist(), abs=1e-15)


@PROPERTY
@given(p_lists)
def test_benjamini_hochberg(p_values):
    """It equals scipy's false discovery control."""
    expected = stats.false_discovery_control(p_values)

    assert benjamini_hochberg(p_values).tolist() == pytest.approx(expected.tolist())


@PROPERTY
@given(p_lists)
def test_order_of_strictness(p_values):
    """Raw values are at most Benjamini-Hochberg's, these at most Holm's, those at most n-fold."""
    raw, count = np.array(p_values), len(p_values)
    loose, strict = benjamini_hochberg(p_values), holm(p_values)

    assert (raw <= loose + 1e-12).all()
    assert (loose <= strict + 1e-12).all()
    assert (strict <= np.minimum(1, raw * count) + 1e-12).all()


@pytest.mark.parametrize("function", [holm, benjamini_hochberg])
@pytest.mark.parametrize(
    ("p_values", "message"),
    [
        ([], r"p_values must hold at least one value"),
        ([0.1, 1.2], r"p_values\[1\]=1\.2 must be between 0 and 1"),
        ([math.nan], r"p_values\[0\]=nan must be finite"),
    ],
)
def test_refuses(function, p_values, message):
    """Values that are no probabilities are refused."""
    with pytest.raises(ValueError, match=message):
        function(p_values)
