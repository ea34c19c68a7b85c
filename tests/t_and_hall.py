"""Limits of a mean by scipy's t and by Hall's transformation, solved without our inverse."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats

Limits = tuple[float, float]


def t_limits(values: Sequence[float], confidence: float = 0.9) -> Limits:
    """Return Student's limits by scipy."""
    found = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    return float(found.low), float(found.high)


def hall_limits(values: Sequence[float], confidence: float = 0.9, factor: float = 1.0) -> Limits:
    """Solve Hall's (1992) transformation for the mean by root finding.

    Args:
        values: The sample.
        confidence: Two-sided level.
        factor: What the sample skewness is multiplied by: 1.4 for scores without a range.
    """
    n, mean, deviation = len(values), float(np.mean(values)), float(np.std(values, ddof=1))
    g = factor * stats.skew(values)
    quantile = stats.t.ppf((1 + confidence) / 2, n - 1)

    def excess(margin: float, target: float) -> float:
        x = (mean - margin) / deviation
        return float(math.sqrt(n) * (x + g * x**2 / 3 + g**2 * x**3 / 27 + g / (6 * n)) - target)

    far = 50 * deviation
    low, high = (
        optimize.brentq(excess, mean - far, mean + far, args=(target,))
        for target in (quantile, -quantile)
    )
    return float(low), float(high)


def envelope(values: Sequence[float], confidence: float = 0.9, factor: float = 1.0) -> Limits:
    """Return the outer ends of both."""
    t, hall = t_limits(values, confidence), hall_limits(values, confidence, factor)
    return min(t[0], hall[0]), max(t[1], hall[1])
