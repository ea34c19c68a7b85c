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
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.paired_mean import LimitCurve, mean_interval, mean_test
from tunegate.harness.stats.types import Interval, OneSidedTest
from tunegate.harness.stats.validation import Floats, Ints, Labels

METHOD = "PPI++ on paired differences, t and Hall envelope, guarded"
"""Name of the rule, for the report."""


@dataclass(frozen=True, slots=True)
class GuardedEstimate:
    """An estimate from few labels, with its limits at any level.

    Each limit is the widest of three: Student's t, Hall's correction for skewness, and the rule of
    three: n labels miss an event of rate ln(1/alpha)/n with probability alpha.

    Source: Hall (1992), JRSS B 54:221-228; Hanley and Lippman-Hand (1983), JAMA 249:1743-1745.
    """

    estimate: float
    error: float
    """Standard error, above 0."""
    skew: float
    """Third cumulant of the estimate over the cube of its error."""
    degrees: int
    unseen: float = 0.0
    """Largest error of one label's pair over the number of labels; 0 if it has no bound."""

    def below(self, alpha: float) -> float:
        """Distance of the lower limit at the one-sided error `alpha`, up to one half."""
        return self._distance(alpha, self.skew)

    def above(self, alpha: float) -> float:
        """Distance of the upper limit, likewise."""
        return self._distance(alpha, -self.skew)

    def p_value(self, margin: float) -> float:
        """Smallest one-sided error at which the lower limit reaches `margin`."""
        distance = self.estimate - margin
        p_value = distributions.t_tail(self.statistic(margin), self.degrees)
        if self.unseen > 0:
            p_value = max(p_value, math.exp(-max(distance, 0.0) / self.unseen))
        return p_value

    def statistic(self, margin: float) -> float:
        """The less favourable of the statistics of Student's t and of Hall."""
        curves = (
            LimitCurve(self.estimate, self.error),
            LimitCurve(self.estimate, self.error, self.skew),
        )
        return min(curve.statistic(margin) for curve in curves)

    def _distance(self, alpha: float, skew: float) -> float:
        q = distributions.t_critical(1 - 2 * alpha, self.degrees)
        skew = skew if abs(skew) > 1e-8 else 0.0  # below, the cubic is lost in rounding
        curves = LimitCurve(0.0, self.error), LimitCurve(0.0, self.error, skew)
        farthest = max(-curve.limit(q) for curve in curves)
        return max(farthest, self.unseen * -math.log(alpha))


def guarded_estimate(
    estimate: float,
    deviations: Floats,
    *,
    largest: float,
    degrees: int,
    overlooked: float | None = None,
    rest: tuple[float, float] = (0.0, 0.0),
) -> GuardedEstimate:
    """Return an estimate whose error is that of a mean over labels, and of an independent part.

    Args:
        estimate: The estimate.
        deviations: Contribution of each labelled pair, minus their mean.
        largest: Largest possible error of one pair; one of each sign is counted as seen, since
            50 pairs without an error do not rule errors out. `inf` without a bound: then
            nothing is counted.
        degrees: Degrees of freedom of the t quantile.
        overlooked: Largest error for the rule of three; `largest` by default.
        rest: Variance and third cumulant of the independent part.

    Source: the counted errors are Agresti and Coull's (1998, American Statistician 52:119-126)
    for means.
    """
    n, squares = deviations.size, float((deviations**2).sum())
    cubes, unseen = float((deviations**3).sum()) / n**3 + rest[1], 0.0
    if math.isfinite(largest):
        unseen = (largest if overlooked is None else overlooked) / n
        n, squares = n + 2, squares + 2 * largest**2
    # Hall's skewness is the biased one, as in `paired_mean`.
    skew = cubes / (squares / n**2 + rest[0]) ** 1.5
    error = math.sqrt(squares / (n - 1) / n + rest[0])
    return GuardedEstimate(estimate, error, skew, degrees, unseen)


def ppi_weight(human: ArrayLike, judge: ArrayLike, unlabelled: ArrayLike) -> float:
    """Weight of the judge, from 0 to 1, by its agreement on the labelled cases.

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
    largest_error: float | None = None,
) -> Interval:
    """Interval for the mean difference people would see, using the judge as far as it helps.

    Args:
        human: Paired differences (tuned minus base) by people, one per labelled case.
        judge: Paired differences by the judge for the same cases.
        unlabelled: Paired differences by the judge for all other cases, disjoint from these.
        confidence: Two-sided level.
        bound: Largest possible absolute difference, if there is one.
        weight: Share of trust in the judge; that of `ppi_weight` if not given.
        largest_error: Largest possible error of the judge on one case; `bound` if not given.

    Returns:
        The interval, clipped to plus and minus `bound`; without a bound and any variation,
        `paired_mean.mean_interval` of the people's labels.

    Source: PPI++ (arXiv 2311.01453) on paired differences: w * mean(unlabelled) +
    mean(human - w * judge), with the limits of `GuardedEstimate` on n - 1 degrees of freedom. With
    a bound, one error of each sign is counted as seen: otherwise a judge whose errors all point one
    way, or that hides rare losses, errs with .10 to .16 at 50 to 100 labels.

    Trap: the labelled cases must be a random sample, labelled blind and for both models.
    """
    validation.check_between("confidence", confidence, 0, 1)
    limit = math.inf if bound is None else validation.check_positive("bound", bound)
    truth, seen, rest = _check_samples(human, judge, unlabelled, limit)
    if weight is not None:
        validation.check_within("weight", weight, 0, 1)
    largest = limit
    if largest_error is not None:
        largest = validation.check_positive("largest_error", largest_error)
    fitted = _fit(truth, seen, rest, limit, largest, weight)
    if fitted is None:
        return mean_interval(truth, confidence=confidence, bound=bound)
    alpha = (1 - confidence) / 2
    estimate = fitted.estimate
    low = max(-limit, estimate - fitted.below(alpha))
    high = min(limit, estimate + fitted.above(alpha))
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

    Source: inversion of `ppi_interval` in closed form.
    """
    validation.check_finite("margin", margin)
    limit = math.inf if bound is None else validation.check_positive("bound", bound)
    validation.check_between("margin", margin, -limit, limit)
    truth, seen, rest = _check_samples(human, judge, unlabelled, limit)
    fitted = _fit(truth, seen, rest, limit, limit)
    if fitted is None:
        return mean_test(truth, margin=margin, bound=bound)
    return OneSidedTest(fitted.statistic(margin), fitted.p_value(margin), margin, METHOD)


@dataclass(frozen=True)
class JudgeRegression:
    """Regression of a judge's differences on people's, over the labelled pairs of a calibration.

    It predicts the judge's mean difference from people's, and by inversion people's from the
    judge's on other pairs. Subtracting the mean error instead would assume the same mean difference
    there: a judge that errs alike on both arms understates every difference.

    Source: classical calibration, or inverse regression (Brown 1993, Measurement, Regression, and
    Calibration, ch. 2), with the limits of `GuardedEstimate` for the regression line.
    """

    human: Floats
    judge: Floats
    largest: float
    """Largest possible error of the judge on one pair; `inf` without a bound."""
    clusters: Ints | None = None
    """Number of each pair's cluster; None if pairs are independent."""

    @classmethod
    def of(
        cls,
        human: ArrayLike,
        judge: ArrayLike,
        *,
        bound: float | None = None,
        clusters: Labels | None = None,
    ) -> "JudgeRegression":
        """Return the regression.

        Args:
            human: Paired differences (tuned minus base) by people, one per labelled case.
            judge: Paired differences by the judge for the same cases.
            bound: Largest possible error of the judge on one case, if there is one.
            clusters: One label per case where cases belong together.
        """
        limit = math.inf if bound is None else validation.check_positive("bound", bound)
        truth = validation.check_vector("human", human)
        seen = validation.check_vector("judge", judge)
        validation.check_paired(truth, seen, "human, judge")
        validation.check_count("number of human", truth.size, least=4)
        if np.ptp(truth) <= 1e-12:
            raise ValueError(f"human={truth[0]:g} must not all be equal")
        numbers = None
        if clusters is not None:
            numbers = validation.check_labels("clusters", clusters, truth.size)
            validation.check_count("number of clusters", int(numbers.max()) + 1, least=4)
        return cls(truth, seen, limit, numbers)

    @cached_property
    def slope(self) -> float:
        """Change of the judge's difference with people's."""
        return float((self._moved * self.judge).sum() / self._squares)

    def reported(self, difference: float) -> GuardedEstimate:
        """Return the judge's mean difference if people's is `difference`."""
        n, away = self.human.size, difference - float(self.human.mean())
        influence = 1 + n * away * self._moved / self._squares
        errors = self.judge - self.judge.mean() - self.slope * self._moved
        values = influence * errors
        units = n
        if self.clusters is not None:
            units = int(self.clusters.max()) + 1
            values = np.bincount(self.clusters, weights=values) * units / n
        return guarded_estimate(
            float(self.judge.mean()) + self.slope * away,
            values * math.sqrt((units - 1) / (units - 2)),
            largest=self.largest * math.sqrt(float((influence**2).mean())),
            overlooked=self.largest * float(np.abs(influence).max()),
            degrees=units - 2,
        )

    def seen_by_people(self, judged: float) -> float:
        """Return people's mean difference if the judge's is `judged`; infinite at slope 0."""
        away = judged - float(self.judge.mean())
        if self.slope <= 0:
            return math.copysign(math.inf, away)
        return float(self.human.mean()) + away / self.slope

    @cached_property
    def _moved(self) -> Floats:
        return np.asarray(self.human - self.human.mean())

    @cached_property
    def _squares(self) -> float:
        return float((self._moved**2).sum())


def sample_distance(chosen: ArrayLike, rest: ArrayLike) -> float:
    """Return the signed distance of a sample's mean from that of the rest, in standard errors.

    A random sample is farther than 4 in about 1 of 10,000 draws.

    Source: the permutation variance of a difference of two means (Pitman 1937, Supplement to the
    JRSS 4:119-130). Separate variances would call a sample that missed a rare value not random.
    """
    inside, outside = (
        validation.check_vector(name, values)
        for name, values in (("chosen", chosen), ("rest", rest))
    )
    everything = np.concatenate([inside, outside])
    variance = float(everything.var(ddof=1)) * (1 / inside.size + 1 / outside.size)
    if variance <= (1e-12 * float(np.abs(everything).max())) ** 2:
        return 0.0
    return float(inside.mean() - outside.mean()) / math.sqrt(variance)


def corrected_mean(
    human: ArrayLike, judge: ArrayLike, unlabelled: ArrayLike, *, weight: float
) -> float:
    """One arm's level as people would see it, at the weight of the difference.

    Args:
        human: Scores of the arm by people, one per labelled case.
        judge: Scores by the judge for the same cases.
        unlabelled: Scores by the judge for all other cases.
        weight: Weight of the judge; with `ppi_weight` of the differences, the levels of the two
            arms differ by exactly the estimate of `ppi_interval`.
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
    truth: Floats,
    seen: Floats,
    rest: Floats,
    limit: float,
    largest_error: float,
    weight: float | None = None,
) -> GuardedEstimate | None:
    """Return the estimate with its limits; None if nothing varies."""
    weight = _weight(truth, seen, rest) if weight is None else weight
    rectifier = truth - weight * seen
    deviations, others = rectifier - rectifier.mean(), rest - rest.mean()
    spread = weight**2 * rest.var(ddof=1) / rest.size
    size = max(float(np.abs(array).max()) for array in (truth, seen, rest))
    still = spread + deviations.var() <= (1e-12 * size) ** 2
    if still and not math.isfinite(largest_error):
        return None
    estimate = float(weight * rest.mean() + rectifier.mean())
    return guarded_estimate(
        max(-limit, min(limit, estimate)),
        deviations,
        largest=largest_error,
        degrees=truth.size - 1,
        rest=(float(spread), weight**3 * float((others**3).sum()) / rest.size**3),
    )


def _weight(truth: Floats, seen: Floats, rest: Floats) -> float:
    everything = np.concatenate([seen, rest])
    variance = float(everything.var(ddof=1))
    if variance <= (1e-12 * float(np.abs(everything).max())) ** 2:
        return 0.0
    covariance = float(np.cov(truth, seen, ddof=1)[0, 1])
    return max(0.0, min(1.0, covariance / ((1 + truth.size / rest.size) * variance)))
