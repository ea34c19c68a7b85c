"""Order, position and repeats: what else a judge's verdict depends on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.property_settings import examples
from tunegate.harness.stats.judge_bias import (
    first_position_share,
    first_position_test,
    order_flips,
    repeat_flips,
    repeat_variance,
)

PROPERTY = examples(60)


def test_order_flips_by_hand():
    found = order_flips([1, 1, 0, -1, -1], [1, -1, 0, 0, -1])
    expected = stats.binomtest(2, 5).proportion_ci(0.9, method="exact")

    assert found.estimate == 0.4
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_judge_of_positions_flips_always():
    assert order_flips([-1] * 20, [1] * 20).estimate == 1.0


@PROPERTY
@given(st.integers(0, 60), st.integers(0, 60))
def test_position_test_is_scipys(first, second):
    if first + second:
        expected = stats.binomtest(first, first + second).pvalue
        assert first_position_test(first, second).p_value == pytest.approx(expected)


def test_position_share():
    """60 of 80 decided verdicts go to the first."""
    assert first_position_share(60, 20).estimate == 0.75
    assert first_position_test(60, 20).statistic == 0.75
    assert first_position_test(60, 20).p_value < 0.001


def test_repeats_by_hand():
    """One case of four gets another verdict the third time."""
    verdicts = [["yes"] * 3, ["no"] * 3, ["yes", "yes", "no"], ["no"] * 3]

    assert repeat_flips(verdicts).estimate == 0.25


def test_repeat_variance_by_hand():
    """Scores 0 and 1 vary by .5, equal ones by 0: .25 on average; three repeats weigh double."""
    assert repeat_variance([[0.0, 1.0], [0.4, 0.4]]) == 0.25
    # (1 * .5 + 2 * 0) / 3
    assert repeat_variance([[0.0, 1.0], [0.4, 0.4, 0.4]]) == pytest.approx(0.5 / 3)


def test_repeat_variance_finds_the_truth():
    """Noise of variance .04 on 300 cases asked three times is found to be so."""
    rng = np.random.default_rng(2)
    scores = rng.random((300, 1)) + rng.normal(0, 0.2, (300, 3))

    assert repeat_variance(list(scores)) == pytest.approx(0.04, rel=0.15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: order_flips([1, 0.5], [1, 0]), r"first_order\[1\]=0.5 must be -1, 0 or 1"),
        (lambda: order_flips([1], [1, 0]), "first_order, second_order shapes"),
        (lambda: first_position_share(0, 0), r"first\+second=0 must"),
        (lambda: first_position_test(-1, 3), "first=-1 must"),
        (lambda: repeat_flips([["yes"]]), r"len\(verdicts\[0\]\)=1 must"),
        (lambda: repeat_variance([]), "number of scores=0 must"),
        (lambda: repeat_variance([[1.0]]), r"len\(scores\[0\]\)=1 must"),
    ],
)
def test_refuses(call, message):
    """Verdicts that do not fit are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        call()
