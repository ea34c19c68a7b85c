"""Bias of a judge: position bias, repeatability and length bias.

Of a pair both orders are asked. A verdict is oriented: 1 for tuned, -1 for base, 0 for a tie,
whichever of them was shown first.

Does a judge pay for length? Judged differences against how much longer tuned's answers are.

Example:
    >>> order_flips([1, 1, 0, -1], [1, -1, 0, -1]).estimate
    0.25

Example:
    >>> fitted = length_fit([0.1, 0.3, 0.2, 0.5, 0.4], [0.0, 0.5, 0.2, 1.0, 0.7])
    >>> round(fitted.slope.estimate, 2)
    0.38
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.binary import clopper_pearson
from tunegate.harness.stats.types import Interval, OneSidedTest


def order_flips(
    first_order: ArrayLike, second_order: ArrayLike, *, confidence: float = CONFIDENCE
) -> Interval:
    """Exact interval for the share of pairs whose verdict changes when the order is swapped.

    Args:
        first_order: Oriented verdicts with base shown first, one per pair: -1, 0 or 1.
        second_order: Those with tuned shown first, for the same pairs.
        confidence: Two-sided level.

    Source: Clopper-Pearson; consistency of MT-Bench (arXiv 2306.05685) is one minus this.

    Trap: a judge that always says "tie" never flips.
    """
    first, other = (
        _verdicts(name, verdicts)
        for name, verdicts in (("first_order", first_order), ("second_order", second_order))
    )
    validation.check_paired(first, other, "first_order, second_order")
    flipped = int((first != other).sum())
    return clopper_pearson(flipped, first.size, confidence=confidence)


def first_position_share(first: int, second: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Exact interval for the share of decided verdicts that go to the answer shown first.

    Args:
        first: Verdicts for the answer shown first.
        second: Verdicts for the other; ties count in neither.
        confidence: Two-sided level.

    Source: Clopper-Pearson.

    Trap: with one order only, an answer that is better and always shown first looks like bias.
    """
    return clopper_pearson(first, _check_decided(first, second), confidence=confidence)


def first_position_test(first: int, second: int) -> OneSidedTest:
    """Two-sided exact test of "the position does not matter".

    Args:
        first: Verdicts for the answer shown first.
        second: Verdicts for the other; ties count in neither.

    Returns:
        The statistic is the share that goes to the first; the p-value is two-sided.

    Source: the binomial test at one half.

    Trap: both orders of one pair are not independent; read it together with the share.
    """
    total = _check_decided(first, second)
    most = np.array(max(first, second))
    tail = float(distributions.binomial_tail(most, np.array(total), np.array(0.5)))
    p_value = min(1.0, 2 * tail)
    return OneSidedTest(first / total, p_value, 0.5, "binomial, two-sided")


def repeat_flips(
    verdicts: Sequence[Sequence[Hashable]], *, confidence: float = CONFIDENCE
) -> Interval:
    """Exact interval for the share of cases on which a judge asked again changes its verdict.

    Args:
        verdicts: For each case the judge's verdict each time, at least twice.
        confidence: Two-sided level.

    Source: Clopper-Pearson.

    Trap: more repeats find more flips; compare judges at the same number.
    """
    for number, case_verdicts in enumerate(verdicts):
        validation.check_count(f"len(verdicts[{number}])", len(case_verdicts), least=2)
    flipped = sum(len(set(case_verdicts)) > 1 for case_verdicts in verdicts)
    return clopper_pearson(flipped, len(verdicts), confidence=confidence)


def repeat_variance(scores: Sequence[ArrayLike]) -> float:
    """Variance that a judge's own inconstancy adds to each of its scores.

    Args:
        scores: For each case the scores of the repeats, at least two.

    Source: mean of the cases' variances (one-way analysis of variance, within).

    Trap: averaging repeats removes this, and none of the bias.
    """
    rows = [validation.check_vector(f"scores[{at}]", row) for at, row in enumerate(scores)]
    validation.check_count("number of scores", len(rows), least=1)
    for at, row in enumerate(rows):
        validation.check_count(f"len(scores[{at}])", row.size, least=2)
    within = sum(float(row.var(ddof=1)) * (row.size - 1) for row in rows)
    return within / sum(row.size - 1 for row in rows)


def _check_decided(first: int, second: int) -> int:
    validation.check_count("first", first)
    validation.check_count("second", second)
    return validation.check_count("first+second", first + second, least=1)


def _verdicts(name: str, verdicts: ArrayLike) -> validation.Floats:
    values = validation.check_vector(name, verdicts)
    bad = np.flatnonzero(~np.isin(values, (-1, 0, 1)))
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}]={values[bad[0]]:g} must be -1, 0 or 1")
    return values


@dataclass(frozen=True, slots=True)
class LengthFit:
    """The line of judged difference on length, with robust intervals."""

    slope: Interval
    """Change of the difference for one unit of log length ratio (tuned 2.7 times as long)."""
    level: Interval
    """Difference at the mean length ratio of the cases."""
    equal: Interval
    """Difference where both answers are equally long: it must pass the gate too."""


def length_fit(
    differences: ArrayLike, log_ratios: ArrayLike, *, confidence: float = CONFIDENCE
) -> LengthFit:
    """Fit judged differences to the logarithm of the length ratio tuned/base.

    Args:
        differences: Paired differences by the judge, one per case.
        log_ratios: Logarithm of tuned's length over base's, for the same cases.
        confidence: Two-sided level.

    Source: ordinary least squares with MacKinnon and White's HC3 errors (1985, Journal of
    Econometrics 29:305-325), t on n - 2 degrees of freedom.

    Trap: longer answers may be better answers; a slope alone convicts no judge.
    """
    validation.check_between("confidence", confidence, 0, 1)
    y = validation.check_vector("differences", differences)
    x = validation.check_vector("log_ratios", log_ratios)
    validation.check_paired(y, x, "differences, log_ratios")
    validation.check_count("number of differences", y.size, least=4)
    if np.ptp(x) <= 1e-12:
        raise ValueError(f"log_ratios={x[0]:g} must not all be equal")
    at_mean = _line(y, x - x.mean(), confidence)
    return LengthFit(slope=at_mean[1], level=at_mean[0], equal=_line(y, x, confidence)[0])


def _line(y: validation.Floats, x: validation.Floats, confidence: float) -> list[Interval]:
    """Return the intervals of intercept and slope."""
    design = np.column_stack([np.ones_like(x), x])
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ y
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    # A case that alone decides the line has leverage 1 and no residual to speak of.
    free = np.maximum(1 - leverage, 1e-12)
    weights = ((y - design @ coefficients) / free) ** 2
    covariance = inverse @ (design.T * weights) @ design @ inverse
    critical = distributions.t_critical(confidence, y.size - 2)
    halves = critical * np.sqrt(np.diag(covariance))
    return [
        Interval(float(c), float(c - h), float(c + h), confidence, "least squares, HC3, t")
        for c, h in zip(coefficients, halves, strict=True)
    ]
