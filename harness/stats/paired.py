"""Paired continuous scores: interval and test for the mean difference.

The interval is the envelope of two closed forms, the t interval and Hall's skewness-corrected one,
and, while few units were seen, of a third that pretends to have seen the two worst values as well.
No resampling: BCa and bootstrap-t err with probability .10 to .13 on saturated scores.

Example:
    >>> interval = mean_interval([0.0, 0.2, -0.1, 0.3, 0.1], bound=1.0)
    >>> interval.low < 0 < interval.high
    True
"""

import math

from numpy.typing import ArrayLike

from harness.stats import numeric, validation
from harness.stats.binary import clopper_pearson
from harness.stats.clusters import (
    Labels,
    clustered_binary_interval,
    clustered_binary_test,
    design_effect,
)
from harness.stats.location import fit, skewness
from harness.stats.result import Interval, Test

__all__ = [
    "clustered_binary_interval",
    "clustered_binary_test",
    "design_effect",
    "mean_interval",
    "mean_test",
    "retention_interval",
    "severe_drops",
    "skewness_warning",
]


def mean_interval(
    differences: ArrayLike,
    *,
    confidence: float = 0.90,
    bound: float | None = None,
    clusters: Labels | None = None,
) -> Interval:
    """Interval for the mean of paired differences.

    Args:
        differences: tuned minus base per case, oriented so that positive is better.
        confidence: Two-sided level.
        bound: Largest possible absolute difference (the range of the score), if there is one.
            With fewer than 50 units, or without spread, the interval then also covers the t
            interval with -bound and +bound appended to the data.
        clusters: One label per case where cases belong together, at least two different ones.

    Returns:
        The interval, clipped to plus and minus `bound`. One case, or no spread and no bound,
        gives the widest one: the data do not say how far the next difference may lie.

    Raises:
        ValueError: If there is no difference, one is NaN or infinite or beyond `bound`, there are
            fewer than two clusters, or `confidence` is outside (0, 1).

    Source: Student's t; Hall (1992), JRSS B 54:221-228, cubic transformation; with clusters the
    delete-one-cluster jackknife (CR3) on G - 1 degrees of freedom.

    Traps: unbounded lognormal-like data stay liberal (see `skewness_warning`); repeated samples
    of one case must be averaged before they come here.
    """
    validation.between("confidence", confidence, 0, 1)
    model = fit(differences, bound, clusters)
    low, high = model.low(confidence), model.high(confidence)
    return Interval(model.estimate, low, high, confidence, model.method)


def mean_test(
    differences: ArrayLike,
    *,
    margin: float = 0.0,
    bound: float | None = None,
    clusters: Labels | None = None,
) -> Test:
    """Test that the mean of paired differences exceeds `margin`.

    Args:
        differences: tuned minus base per case, oriented so that positive is better.
        margin: Null value; strictly within plus and minus `bound`.
        bound: Largest possible absolute difference, as for `mean_interval`.
        clusters: One label per case where cases belong together.

    Returns:
        The least favourable of the statistics behind `mean_interval` with its p-value: the
        smallest one-sided error at which the lower limit clears the margin. One case, or no
        spread and a mean not beyond the margin, gives p = 1 and the statistic `-inf`.

    Raises:
        ValueError: As `mean_interval`, or if `margin` is not finite or not within the bound.

    Source: inversion of `mean_interval` in closed form.

    Trap: the p-value of the opposite direction is not one minus this one; negate the differences
    and the margin.
    """
    if bound is None:
        validation.finite("margin", margin)
    else:
        validation.positive("bound", bound)
        validation.between("margin", margin, -bound, bound)
    model = fit(differences, bound, clusters)
    statistic = model.statistic(margin)
    p_value = 1.0 if statistic == -math.inf else numeric.t_tail(statistic, model.degrees)
    return Test(statistic, p_value, margin, model.method)


def severe_drops(
    differences: ArrayLike, *, drop: float = 0.5, confidence: float = 0.90
) -> Interval:
    """Exact interval for the share of cases that lose at least `drop`.

    Args:
        differences: tuned minus base per case, of a bounded continuous score.
        drop: Loss from which a case counts as severe, in units of the score.
        confidence: Two-sided level.

    Raises:
        ValueError: If there is no difference, one is not finite, or `drop` is not positive.

    Source: Clopper-Pearson; the guard passes if the upper limit is at most the accepted share.

    Trap: meaningless on 0/1 scores, where every loss is a severe drop.
    """
    values = validation.vector("differences", differences)
    validation.positive("drop", drop)
    # 0.2 - 0.7 is -0.49999999999999994: rounding must not hide a drop.
    severe = int((values <= -drop * (1 - 1e-9)).sum())
    return clopper_pearson(severe, values.size, confidence=confidence)


def retention_interval(
    base: ArrayLike,
    tuned: ArrayLike,
    *,
    retention: float,
    chance: float,
    confidence: float = 0.90,
    clusters: Labels | None = None,
) -> Interval:
    """Interval for the mean of (tuned - chance) - retention * (base - chance).

    Args:
        base: Scores of base in [0, 1], one per case.
        tuned: Scores of tuned for the same cases.
        retention: Share of the signal above chance that must be kept, in (0, 1].
        chance: Score of guessing, in [0, 1).
        confidence: Two-sided level.
        clusters: One label per case where cases belong together.

    Returns:
        The interval; the share is kept if it lies above 0.

    Raises:
        ValueError: If the arrays differ in length, a value is outside its range, or as
            `mean_interval`.

    Source: the linear form of a ratio hypothesis (Fieller 1954, JRSS B 16:175-185).

    Trap: means nothing unless base itself is proved above chance.
    """
    before = validation.ranged("base", base, 0, 1)
    after = validation.ranged("tuned", tuned, 0, 1)
    validation.paired(before, after, "base, tuned")
    if not 0 < retention <= 1:
        raise ValueError(f"retention={retention} must lie in (0, 1]")
    if not 0 <= chance < 1:
        raise ValueError(f"chance={chance} must lie in [0, 1)")
    contrast = (after - chance) - retention * (before - chance)
    offset = chance * (1 - retention)
    bound = max(1 - offset, retention + offset)
    return mean_interval(contrast, confidence=confidence, bound=bound, clusters=clusters)


def skewness_warning(differences: ArrayLike) -> bool:
    """Tell whether the sample is too skewed for its size: abs(g)/sqrt(n) > 0.3.

    Args:
        differences: tuned minus base per case.

    Raises:
        ValueError: If there is no difference or one is not finite.

    Source: the third-order error term of the t interval (Hall 1992); g is the biased sample
    skewness.

    Trap: a warning, never a verdict; a sample that missed the rare event looks symmetric.
    """
    values = validation.vector("differences", differences)
    return abs(skewness(values)) / math.sqrt(values.size) > 0.3
