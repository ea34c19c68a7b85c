"""Errors of a judge, arm by arm, and what they do to a difference."""

import math

import numpy as np
import pytest
from scipy import stats

from tunegate.harness.stats.judge_accuracy import (
    accuracy,
    balanced_accuracy,
    constant_baseline,
    differential_error,
    sensitivity,
    specificity,
)

# people: 50 yes, 50 no; the judge says yes to 45 of the yes and to 10 of the no
TABLE = [[45, 5], [10, 40]]


def test_rates_by_hand():
    """45 of 50 yes and 40 of 50 no are found: .90 and .80, 85 of 100 in all."""
    assert sensitivity(TABLE).estimate == 0.9
    assert specificity(TABLE).estimate == 0.8
    assert accuracy(TABLE).estimate == 0.85
    assert balanced_accuracy(TABLE).estimate == pytest.approx(0.85)


def test_rates_have_the_exact_interval():
    expected = stats.binomtest(45, 50).proportion_ci(0.9, method="exact")

    assert sensitivity(TABLE).low == pytest.approx(expected.low)
    assert sensitivity(TABLE).high == pytest.approx(expected.high)


def test_balanced_accuracy_recovers_the_variances():
    yes, no = sensitivity(TABLE), specificity(TABLE)
    below = np.sqrt((yes.estimate - yes.low) ** 2 + (no.estimate - no.low) ** 2) / 2

    assert balanced_accuracy(TABLE).low == pytest.approx(0.85 - below)


def test_balanced_accuracy_covers():
    """Its 90 % interval misses a true .8 in at most one of ten samples."""
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(400):
        hits, passes = rng.binomial(40, 0.85), rng.binomial(60, 0.75)
        found = balanced_accuracy([[hits, 40 - hits], [60 - passes, passes]])
        missed += not found.low <= 0.8 <= found.high
    assert missed <= 40


def test_a_constant_judge_is_no_better_than_guessing():
    """One that always says yes agrees as often as the baseline, at a balanced accuracy of .5."""
    always = [[80, 0], [20, 0]]

    assert constant_baseline(always) == 0.8
    assert accuracy(always).estimate == 0.8
    assert balanced_accuracy(always).estimate == 0.5


def test_the_baseline_takes_any_number_of_labels():
    """Of three labels the commonest among people counts, not that of the judge."""
    assert constant_baseline([[10, 0, 5], [0, 30, 0], [45, 5, 5]]) == 0.55


def test_differential_error_by_hand():
    """The judge sees .1 more than people in every case but one: mean .08 of five."""
    human = [0.0, 0.5, -0.5, 0.0, 0.2]
    judge = [0.1, 0.6, -0.4, 0.1, 0.2]

    assert differential_error(human, judge, bound=1.0).estimate == pytest.approx(0.08)


def test_differential_error_is_the_interval_of_the_errors():
    """Student's t and Hall's cubic, the wider; a bound counts one error of each sign as seen."""
    rng = np.random.default_rng(7)
    human, judge = rng.choice([-1.0, 0.0, 1.0], size=(2, 80))
    free, bounded = (differential_error(human, judge, bound=bound) for bound in (None, 1.0))
    errors, q = judge - human, stats.t.ppf(0.95, 79)
    a = stats.skew(errors) / math.sqrt(80)
    by_t = q * stats.sem(errors)
    by_hall = [
        3 / a * (np.cbrt(1 + a * (side * q - a / 6)) - 1) * stats.sem(errors) for side in (1, -1)
    ]

    assert free.low == pytest.approx(errors.mean() - max(by_t, by_hall[0]))
    assert free.high == pytest.approx(errors.mean() + max(by_t, -by_hall[1]))
    # The largest error is that of one answer: 1 of the range. Both at once would be 2.
    error = np.append(judge - human, free.estimate + np.array([-1, 1])).std(ddof=1) / math.sqrt(82)
    assert bounded.high >= free.estimate + stats.t.ppf(0.95, 79) * error - 1e-12
    assert differential_error([1.0] * 60, [1.0] * 60, bound=1.0).high == pytest.approx(
        math.log(20) / 60
    )


def test_agreement_everywhere_keeps_a_width():
    """A judge without an error on 100 cases may still err on the next."""
    found = differential_error([0.0, 1.0] * 50, [0.0, 1.0] * 50, bound=1.0)

    assert found.low < -0.02
    assert found.high > 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sensitivity([[0, 0], [3, 4]]), "human yes in table=0 must"),
        (lambda: specificity([[3, 4], [0, 0]]), "human no in table=0 must"),
        (lambda: accuracy([[1, 2, 3], [4, 5, 6]]), r"table.shape=\(2, 3\) must"),
        (lambda: differential_error([1, 0], [1], bound=1.0), "human, judge shapes"),
        (lambda: differential_error([2, 0], [1, 0], bound=1.0), r"human\[0\]=2.0 must be"),
    ],
)
def test_refuses(call, message):
    """Tables and labels that do not fit are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        call()
