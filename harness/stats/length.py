"""Does a judge pay for length? Judged differences against how much longer tuned's answers are.

Example:
    >>> fitted = length_fit([0.1, 0.3, 0.2, 0.5, 0.4], [0.0, 0.5, 0.2, 1.0, 0.7])
    >>> round(fitted.slope.estimate, 2)
    0.38
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.stats import numeric, validation
from harness.stats.result import Interval


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
    differences: ArrayLike, log_ratios: ArrayLike, *, confidence: float = 0.90
) -> LengthFit:
    """Fit judged differences to the logarithm of the length ratio tuned/base.

    Args:
        differences: Paired differences by the judge, one per case.
        log_ratios: Logarithm of tuned's length over base's, for the same cases.
        confidence: Two-sided level.

    Raises:
        ValueError: If there are fewer than four cases, lengths differ, a value is not finite, all
            ratios are equal, or `confidence` is outside (0, 1).

    Source: ordinary least squares with MacKinnon and White's HC3 errors (1985, Journal of
    Econometrics 29:305-325), t on n - 2 degrees of freedom.

    Trap: longer answers may be better answers; a slope alone convicts no judge.
    """
    validation.between("confidence", confidence, 0, 1)
    y = validation.vector("differences", differences)
    x = validation.vector("log_ratios", log_ratios)
    validation.paired(y, x, "differences, log_ratios")
    validation.count("number of differences", y.size, least=4)
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
    critical = numeric.t_critical(confidence, y.size - 2)
    halves = critical * np.sqrt(np.diag(covariance))
    return [
        Interval(float(c), float(c - h), float(c + h), confidence, "least squares, HC3, t")
        for c, h in zip(coefficients, halves, strict=True)
    ]
