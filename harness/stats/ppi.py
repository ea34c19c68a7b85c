"""Prediction-powered inference: a judge on all cases, set right by people on some of them.

The judge's mean over all cases is precise and biased, people's labels are few and right. The
estimate is the judge's mean plus what people say it errs by, each weighted by what it is worth: a
judge that knows nothing leaves the labels' own interval, a good one narrows it.

Example:
    >>> human, judge = [1, 0, 0, 1, -1, 0], [1, 0, 1, 1, 0, 0]
    >>> interval = ppi_interval(human, judge, [1, 0, 1, 1, 0, 0, 1, 1], bound=1.0)
    >>> interval.low < 0 < interval.high
    True
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tunegate.harness.defaults import CONFIDENCE
from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.paired_mean import mean_interval, mean_test
from tunegate.harness.stats.types import Interval, OneSidedTest
from tunegate.harness.stats.validation import Floats

METHOD = "PPI++ on paired differences, t"
"""Name of the rule, for the report."""


@dataclass(frozen=True, slots=True)
class _PpiFit:
    """The estimate with its standard error, before a level is chosen."""

    estimate: float
    error: float
    degrees: int


def ppi_weight(human: ArrayLike, judge: ArrayLike, unlabelled: ArrayLike) -> float:
    """Share of trust, from 0 to 1, that the judge earns on the labelled cases.

    Args:
        human: Paired differences by people, one per labelled case.
        judge: Paired differences by the judge for the same cases.
        unlabelled: Paired differences by the judge for all other cases.

    Raises:
        ValueError: If there are fewer than two labelled or unlabelled cases, lengths differ, or
            a value is not finite.

    Source: Angelopoulos, Duchi and Zrnic (2023), PPI++, arXiv 2311.01453, example 6.1:
    Cov(human, judge) / ((1 + n/N) Var(judge)), clipped to [0, 1].
    """
    return _weight(*_check_samples(human, judge, unlabelled))


def ppi_interval(
    human: ArrayLike,
    judge: ArrayLike,
    unlabelled: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    bound: float | None = None,
    weight: float | None = None,
) -> Interval:
    """Interval for the mean difference people would see, using the judge as far as it helps.

    Args:
        human: Paired differences (tuned minus base) by people, one per labelled case.
        judge: Paired differences by the judge for the same cases.
        unlabelled: Paired differences by the judge for all other cases, disjoint from these.
        confidence: Two-sided level.
        bound: Largest possible absolute difference, if there is one.
        weight: Share of trust in the judge; that of `ppi_weight` if not given.

    Returns:
        The interval, clipped to plus and minus `bound`; that of `paired_mean.mean_interval` on the
        people's labels alone where nothing varies.

    Raises:
        ValueError: If there are fewer than two labelled or unlabelled cases, lengths differ, a
            value is not finite or beyond `bound`, or `confidence` or `weight` is no share.

    Source: PPI++ (arXiv 2311.01453) on paired differences: w * mean(unlabelled) +
    mean(human - w * judge), t with n - 1 degrees of freedom. Where the labels show no error of the
    judge at all, one of each sign and of size `bound` is counted as seen: none in 50 does not
    mean none.

    Traps: the labelled cases must be a random sample, labelled blind and for both models. A judge
    whose errors all point one way skews the correction: the limit on that side errs with .08 at
    50 labels, .06 at 100; below 50 the interval is advisory.
    """
    validation.check_between("confidence", confidence, 0, 1)
    limit = math.inf if bound is None else validation.check_positive("bound", bound)
    truth, seen, rest = _check_samples(human, judge, unlabelled, limit)
    if weight is not None:
        validation.check_within("weight", weight, 0, 1)
    fitted = _fit(truth, seen, rest, limit, weight)
    if fitted is None:
        return mean_interval(truth, confidence=confidence, bound=bound)
    half = distributions.t_critical(confidence, fitted.degrees) * fitted.error
    estimate = max(-limit, min(limit, fitted.estimate))
    low, high = max(-limit, estimate - half), min(limit, estimate + half)
    return Interval(estimate, low, high, confidence, METHOD)


def ppi_test(
    human: ArrayLike,
    judge: ArrayLike,
    unlabelled: ArrayLike,
    *,
    margin: float = 0.0,
    bound: float | None = None,
) -> OneSidedTest:
    """Test that the mean difference people would see exceeds `margin`.

    Args:
        human: Paired differences (tuned minus base) by people, one per labelled case.
        judge: Paired differences by the judge for the same cases.
        unlabelled: Paired differences by the judge for all other cases, disjoint from these.
        margin: Null value; strictly within plus and minus `bound`.
        bound: Largest possible absolute difference, if there is one.

    Raises:
        ValueError: As `ppi_interval`, or if `margin` is not finite or not within the bound.

    Source: inversion of `ppi_interval`.

    Trap: as there, it promises its level from 50 labels on.
    """
    validation.check_finite("margin", margin)
    limit = math.inf if bound is None else validation.check_positive("bound", bound)
    validation.check_between("margin", margin, -limit, limit)
    truth, seen, rest = _check_samples(human, judge, unlabelled, limit)
    fitted = _fit(truth, seen, rest, limit)
    if fitted is None:
        return mean_test(truth, margin=margin, bound=bound)
    estimate = max(-limit, min(limit, fitted.estimate))
    statistic = (estimate - margin) / fitted.error
    return OneSidedTest(statistic, distributions.t_tail(statistic, fitted.degrees), margin, METHOD)


def corrected_mean(
    human: ArrayLike, judge: ArrayLike, unlabelled: ArrayLike, *, weight: float
) -> float:
    """One arm's level as people would see it, at the weight of the difference.

    Args:
        human: Scores of the arm by people, one per labelled case.
        judge: Scores by the judge for the same cases.
        unlabelled: Scores by the judge for all other cases.
        weight: Share of trust; with that of `ppi_weight` on the differences, the levels of the
            two arms differ by exactly the estimate of `ppi_interval`.

    Raises:
        ValueError: As `ppi_weight`, or if `weight` is outside [0, 1].
    """
    validation.check_within("weight", weight, 0, 1)
    truth, seen, rest = _check_samples(human, judge, unlabelled)
    return float(weight * rest.mean() + (truth - weight * seen).mean())


def _check_samples(
    human: ArrayLike, judge: ArrayLike, unlabelled: ArrayLike, limit: float = math.inf
) -> tuple[Floats, Floats, Floats]:
    # The slack is the rounding of 0.3 - 0.2.
    limit *= 1 + 1e-9
    truth = validation.check_ranged("human", human, -limit, limit)
    seen = validation.check_ranged("judge", judge, -limit, limit)
    rest = validation.check_ranged("unlabelled", unlabelled, -limit, limit)
    validation.check_paired(truth, seen, "human, judge")
    validation.check_count("number of human", truth.size, least=2)
    validation.check_count("number of unlabelled", rest.size, least=2)
    return truth, seen, rest


def _fit(
    truth: Floats, seen: Floats, rest: Floats, limit: float, weight: float | None = None
) -> _PpiFit | None:
    """Return the estimate and its error; None where nothing varies."""
    weight = _weight(truth, seen, rest) if weight is None else weight
    rectifier = truth - weight * seen
    around = rectifier.var(ddof=1) / truth.size
    largest = max(float(np.abs(array).max()) for array in (truth, seen, rest))
    tiny = (1e-12 * largest) ** 2
    spread = weight**2 * rest.var(ddof=1) / rest.size
    if spread + around <= tiny:
        return None
    if np.abs(truth - seen).max() <= 1e-12 * largest and math.isfinite(limit):
        worst = np.append(rectifier, [rectifier.mean() - limit, rectifier.mean() + limit])
        around = worst.var(ddof=1) / worst.size
    estimate = float(weight * rest.mean() + rectifier.mean())
    return _PpiFit(estimate, math.sqrt(spread + around), truth.size - 1)


def _weight(truth: Floats, seen: Floats, rest: Floats) -> float:
    everything = np.concatenate([seen, rest])
    variance = float(everything.var(ddof=1))
    if variance <= (1e-12 * float(np.abs(everything).max())) ** 2:
        return 0.0
    covariance = float(np.cov(truth, seen, ddof=1)[0, 1])
    return max(0.0, min(1.0, covariance / ((1 + truth.size / rest.size) * variance)))
