"""Corpus metrics (BLEU, micro-F1, …): a jackknife on summed sufficient statistics.

Such a metric is a function of sums over the cases, not a mean of case scores.

Example:
    >>> def precision(sums): return sums[0] / (sums[0] + sums[1])
    >>> base, tuned = [[3, 1], [2, 2], [4, 1]], [[3, 0], [3, 1], [4, 2]]
    >>> round(jackknife_interval(base, tuned, precision).estimate, 4)
    0.0769
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from harness.stats import numeric, validation
from harness.stats.result import Interval
from harness.stats.validation import Floats

Statistic = Callable[[Floats], float]
"""The metric as a function of the summed statistics."""


def jackknife_interval(
    base_stats: ArrayLike,
    tuned_stats: ArrayLike,
    statistic: Statistic,
    *,
    confidence: float = 0.90,
    bound: float | None = None,
) -> Interval:
    """Interval for the difference of a corpus metric between two paired systems.

    Args:
        base_stats: Sufficient statistics of base, shape (cases, statistics).
        tuned_stats: The same of tuned, in the same order.
        statistic: Maps the summed statistics, shape (statistics,), to the metric.
        confidence: Two-sided level.
        bound: Largest possible absolute difference of the metric, if there is one.

    Returns:
        The interval, clipped to plus and minus `bound`. Where leaving out a case changes nothing
        (identical systems), two pseudo-values at the ends of the range stand in for the missing
        spread; without `bound`, or with one case, the interval is the widest one.

    Raises:
        ValueError: If the shapes differ or are empty, a statistic is not finite, the metric is
            not finite on all cases or with any one left out, the difference exceeds `bound`, or
            `confidence` is outside (0, 1).

    Source: Tukey's jackknife (Efron and Stein 1981, Annals of Statistics 9:586-596) of the
    difference, t with n - 1 degrees of freedom; O(n) and deterministic, where the percentile
    bootstrap errs with .07 to .09 at 10 to 20 cases.

    Trap: below 50 cases a corpus metric is advisory.
    """
    validation.between("confidence", confidence, 0, 1)
    limit = math.inf if bound is None else validation.positive("bound", bound)
    base, tuned = _table("base_stats", base_stats), _table("tuned_stats", tuned_stats)
    validation.paired(base, tuned, "base_stats, tuned_stats")
    n = len(base)
    estimate = _difference(base.sum(axis=0), tuned.sum(axis=0), statistic)
    if abs(estimate) > limit:
        raise ValueError(f"bound={bound} must be at least the observed difference {estimate}")
    error = 0.0 if n == 1 else _error(base, tuned, statistic, estimate)
    if error == 0 and n > 1 and bound is not None:
        # Variance of n equal pseudo-values joined by -bound and +bound.
        shrunk = n * estimate / (n + 2)
        squares = n * (estimate - shrunk) ** 2 + (bound - shrunk) ** 2 + (bound + shrunk) ** 2
        error = math.sqrt(squares / ((n + 1) * (n + 2)))
    half = numeric.t_critical(confidence, n - 1) * error if error > 0 else math.inf
    low, high = max(-limit, estimate - half), min(limit, estimate + half)
    return Interval(estimate, low, high, confidence, "jackknife t")


def _table(name: str, values: ArrayLike) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"{name}.shape={table.shape} must be (cases, statistics), both above 0")
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise ValueError(f"{name}[{row}]={table[row].tolist()} must be finite")
    return table


def _difference(base: Floats, tuned: Floats, statistic: Statistic) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return _value(tuned, statistic) - _value(base, statistic)


def _value(sums: Floats, statistic: Statistic) -> float:
    try:
        value = float(statistic(sums))
    except ZeroDivisionError:
        value = math.nan
    return validation.finite(f"statistic({sums.tolist()})", value)


def _error(base: Floats, tuned: Floats, statistic: Statistic, estimate: float) -> float:
    """Delete-one standard error; 0 if no case changes the metric beyond rounding."""
    base_left, tuned_left = base.sum(axis=0) - base, tuned.sum(axis=0) - tuned
    values = np.array(
        [_difference(b, t, statistic) for b, t in zip(base_left, tuned_left, strict=True)]
    )
    if np.ptp(values) <= 1e-12 * max(1.0, abs(estimate)):
        return 0.0
    n = len(values)
    return float(np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum()))
