"""Sharper rules: the bound on any rule's power, and the rules against formulas of their own."""

import numpy as np
import pytest
from scipy import stats

from benchmarks import sharper_rules


def test_bound_without_noise_is_that_of_what_was_not_seen() -> None:
    """If no score varies, a rule that errs with .05 passes at most .05 of (1 - M)^n hidden runs."""
    # A tiny spread keeps the tilts defined; 40 units that lose all with 5 % show none in .1285.
    cell = sharper_rules.PowerCell(
        "constant", 40, -0.05, np.array([-0.001, 0.0, 0.001]), np.array([0.01, 0.98, 0.01])
    )

    assert cell.most_power(0.05, 20_000) == pytest.approx(0.05 / 0.95**40, abs=0.01)


def test_bound_with_much_noise_is_the_power_of_the_normal_test() -> None:
    grid = np.arange(-25, 26) / 50
    normal = stats.norm.pdf(grid, 0, 0.2)
    deviation = float(np.sqrt(normal @ grid**2 / normal.sum()))
    margin = -2.486 * deviation / 20
    cell = sharper_rules.PowerCell("normal", 400, margin, grid, normal / normal.sum())

    assert cell.most_power(0.05, 4_000) == pytest.approx(0.80, abs=0.03)


def test_own_rule_is_within_its_error_and_below_the_bound() -> None:
    """With 20 units it errs exactly with at most .067, and proves no more than any rule can."""
    assert 0.03 < sharper_rules.worst_error(sharper_rules.two_worst, 20) < 0.1
    cell = sharper_rules.cells()[0]
    own = cell.power(sharper_rules.tunegate, 300)

    assert cell.power(sharper_rules.gaffke, 300) < own < cell.most_power(0.06, 20_000)


def test_rules_agree_with_scipy() -> None:
    values, counts = np.array([-0.5, 0.0, 0.25]), np.array([[2.0, 5.0, 9.0]])
    sample = np.repeat(values, [2, 5, 9])
    expected = stats.ttest_1samp(sample, -0.1, alternative="greater").pvalue

    assert sharper_rules.paired_t(counts, values, -0.1)[0] == pytest.approx(expected)


def test_paired_t_errs() -> None:
    """The error of a rule without a guard is found: no loss is seen of 5 % total ones."""
    found = sharper_rules.worst_error(sharper_rules.paired_t, 40)

    assert found > 0.3
