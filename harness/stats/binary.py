"""Paired binary scores: score intervals and tests, with exact companions, on discordant counts.

Wald, paired t and bootstrap intervals are absent on purpose: without discordant pairs they have no
width, and then call a worse model non-inferior with probability up to .82.

Differences and ratios share one core. Both null hypotheses are a line through the probabilities of
a win x and of a loss y, `y = slope * x - margin`: slope 1 if the difference of two success rates
equals `margin`; if their ratio is r, slope r and margin r - 1, among the cases that at least one
model gets right. The other cases do not matter for a ratio.

The core's counts may be fractional (divided by a design effect), so it checks nothing; the public
functions do. The score statistic is liberal if few discordant pairs are expected, so a companion
computes its p-value exactly, at the estimated nuisance parameter. `deciding_interval` and
`deciding_ratio_interval` invert both together: they are the intervals that gates print.

Example:
    >>> interval = tango_interval(18, 7, 100)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.0291, 0.1934)
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.types import Interval, OneSidedTest
from tunegate.harness.stats.validation import Floats, Ints


def tango_interval(wins: int, losses: int, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Score interval for the difference of two paired success rates, in [-1, 1].

    Source: Tango (1998), Statistics in Medicine 17:891-908, equations 6-10.

    Trap: not symmetric about the estimate; without discordant pairs it is plus or minus
    z^2/(n + z^2), not zero.
    """
    validation.check_discordant(wins, losses, n)
    validation.check_between("confidence", confidence, 0, 1)
    critical = distributions.normal_critical(confidence)
    low = tango_lower(wins, losses, n, critical)
    high = -tango_lower(losses, wins, n, critical)
    return Interval((wins - losses) / n, low, high, confidence, "Tango score")


def tango_test(wins: int, losses: int, n: int, *, margin: float = 0.0) -> OneSidedTest:
    """Score test that the difference of two paired success rates exceeds `margin`.

    Source: Tango (1998); statistic Z, p = P(normal >= Z).

    Trap: liberal (size up to .087 at n = 30 for `margin > 0`, .084 at n = 11 elsewhere): ask
    `exact_at_estimate` too. Without discordant pairs p is .5 at margin 0, where the mid-p test
    gives 1.
    """
    validation.check_discordant(wins, losses, n)
    validation.check_between("margin", margin, -1, 1)
    z = float(tango_z(wins, losses, n, margin))
    return OneSidedTest(z, distributions.normal_tail(z), margin, "Tango score")


def mcnemar_midp(wins: int, losses: int) -> OneSidedTest:
    """One-sided mid-p McNemar test that tuned wins more discordant pairs than it loses.

    Source: Fagerland, Lydersen and Laake (2013), BMC Med Res Methodol 13:91;
    p = P(X > wins) + P(X = wins)/2 with X binomial(wins + losses, 1/2).

    Traps: tests margin 0 only. Its size is at most .05 while up to .7 of the pairs are discordant
    but reaches .073 if all are: ask `exact_at_estimate` too. Without discordant pairs p is 1, where
    the asymptotic McNemar of other libraries divides by zero.
    """
    validation.check_count("wins", wins)
    validation.check_count("losses", losses)
    method = "McNemar mid-p"
    if wins + losses == 0:
        return OneSidedTest(0.0, 1.0, 0.0, method)
    total, half = np.int64(wins + losses), np.float64(0.5)
    tails = distributions.binomial_tail(np.array([wins, wins + 1]), np.array(total), np.array(half))
    return OneSidedTest(float(wins), float(tails.mean()), 0.0, method)


def clopper_pearson(k: int, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Exact interval for one success rate; each limit errs with at most (1 - confidence)/2.

    Source: Clopper and Pearson (1934), Biometrika 26:404-413, by beta quantiles.

    Trap: conservative by design; to certify a rate of .95, 59 of 59 must pass.
    """
    validation.check_count("n", n, least=1)
    validation.check_count("k", k)
    if k > n:
        raise ValueError(f"k={k} must not exceed n={n}")
    validation.check_between("confidence", confidence, 0, 1)
    tail = (1 - confidence) / 2
    low = distributions.beta_quantile(tail, k, n - k + 1) if k else 0.0
    # The upper limit by reflection keeps full precision near 1 and exact symmetry.
    high = 1 - distributions.beta_quantile(tail, n - k, k + 1) if k < n else 1.0
    return Interval(k / n, low, high, confidence, "Clopper-Pearson")


def null_losses(
    wins: ArrayLike, losses: ArrayLike, n: float, margin: float, slope: float = 1.0
) -> Floats:
    """Maximum-likelihood probability of a loss on the line of the null hypothesis.

    Source: Tango (1998), equation 9, for slope 1; Nam and Blackwelder (2002), Statistics in
    Medicine 21:689-699, for a ratio. Both are the larger root of A y^2 + B y + C = 0 with
    A = (1 + s) n, B = -(b + c)(s - m) + (1 + s)(n - b) m, C = -c m (s - m).
    """
    b, c = np.asarray(wins, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    slope_sum, top = 1 + slope, slope - margin
    linear = -(b + c) * top + slope_sum * (n - b) * margin
    constant = -c * margin * top
    surd = np.sqrt(np.maximum(linear**2 - 4 * slope_sum * n * constant, 0))
    # Two forms of the same root, against cancellation.
    total = surd + np.abs(linear)
    safe = np.where(total > 0, total, 1)
    larger = np.where(linear > 0, -2 * constant / safe, total / (2 * slope_sum * n))
    return np.maximum(larger, max(0.0, -margin))


def tango_z(
    wins: ArrayLike, losses: ArrayLike, n: float, margin: float, slope: float = 1.0
) -> Floats:
    """Score statistic of the null hypothesis, elementwise over the counts.

    Zero variance needs no discordant pair and margin 0; the statistic is then 0.
    """
    b, c = np.asarray(wins, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    loss = null_losses(b, c, n, margin, slope)
    # The variance of slope * win - loss, whose mean is `margin`.
    variance = n * ((1 + slope) * loss + slope * margin - margin**2)
    scale = np.sqrt(np.where(variance > 0, variance, 1))
    return np.asarray(np.where(variance > 0, (slope * b - c - n * margin) / scale, 0.0))


def tango_lower(wins: float, losses: float, n: float, critical: float) -> float:
    """Margin at which the score statistic equals `critical`: the lower confidence limit.

    The upper limit is minus the lower one with `wins` and `losses` exchanged.
    """
    estimate = (wins - losses) / n
    if estimate <= -1:
        return -1.0

    def excess(margin: float) -> float:
        return float(tango_z(wins, losses, n, margin)) - critical

    return distributions.find_root(excess, -1 + 1e-12, estimate)


def ratio_interval(
    wins: int, losses: int, both: int, *, confidence: float = CONFIDENCE
) -> Interval:
    """Score interval for the ratio of two paired success rates, tuned's to base's.

    Returns:
        Limits from 0 to infinity; the upper one is infinite, and so is the estimate, where base
        gets no case right.

    Source: the inversion of `ratio_test`.
    """
    n = _right_cases(wins, losses, both)
    validation.check_between("confidence", confidence, 0, 1)
    critical = distributions.normal_critical(confidence)
    base = losses + both
    estimate = (wins + both) / base if base else math.inf
    low, inverse = (ratio_lower(*c, n, critical) for c in ((wins, losses), (losses, wins)))
    return Interval(estimate, low, 1 / inverse if inverse else math.inf, confidence, _RATIO_METHOD)


def ratio_test(wins: int, losses: int, both: int, *, ratio: float) -> OneSidedTest:
    """Score test that the ratio of two paired success rates, tuned's to base's, exceeds `ratio`.

    Source: Nam and Blackwelder (2002), Statistics in Medicine 21:689-699.

    Trap: liberal with few cases (size up to .097 at `ratio > 1`, .083 below): ask
    `exact_at_estimate` too.
    """
    n = _right_cases(wins, losses, both)
    validation.check_positive("ratio", ratio)
    z = float(tango_z(wins, losses, n, ratio - 1, ratio))
    return OneSidedTest(z, distributions.normal_tail(z), ratio, _RATIO_METHOD)


_RATIO_METHOD = "paired ratio, score (Nam-Blackwelder)"


def _right_cases(wins: int, losses: int, both: int) -> int:
    """Return the cases that at least one model gets right, at least one."""
    validation.check_count("wins", wins)
    validation.check_count("losses", losses)
    validation.check_count("both", both)
    if wins + losses + both == 0:
        raise ValueError("wins + losses + both=0 must be at least 1: without successes no ratio")
    return wins + losses + both


def ratio_lower(wins: float, losses: float, n: float, critical: float) -> float:
    """Ratio at which the score statistic equals `critical`: the lower confidence limit.

    Args:
        wins: Cases that only tuned gets right; may be fractional, as all counts here.
        losses: Cases that only base gets right.
        n: Cases that at least one model gets right.
        critical: Quantile of the statistic.

    Returns:
        0 where tuned gets no case right. The upper limit is one over the lower one with `wins` and
        `losses` exchanged.
    """
    if n <= losses:
        return 0.0

    def excess(ratio: float) -> float:
        return float(tango_z(wins, losses, n, ratio - 1, ratio)) - critical

    # Where base gets nothing right the statistic is sqrt(n / ratio), and it never falls to 0.
    most = (n - losses) / (n - wins) if n > wins else 2 * n / critical**2
    return distributions.find_root(excess, 1e-12, most)


_TIE = 1e-9
"""Statistics closer than this are equal up to rounding and count as "at least as extreme"."""


def deciding_interval(
    wins: int, losses: int, n: int, *, confidence: float = CONFIDENCE
) -> Interval:
    """Interval of the margins that neither the score test nor its exact companion rejects.

    Source: `tango_interval`, each limit moved outward to where the p-value of `exact_at_estimate`
    reaches the error.

    Trap: that p-value has small jumps, so that for a margin within about .004 of a limit the test
    itself decides.
    """
    score_interval = tango_interval(wins, losses, n, confidence=confidence)
    alpha = (1 - confidence) / 2
    low = exact_lower(wins, losses, n, alpha)
    high = -exact_lower(losses, wins, n, alpha)
    return Interval(score_interval.estimate, low, high, confidence, score_interval.method)


@lru_cache(maxsize=1024)  # gates, slices and notes of a run ask for the same interval
def exact_lower(wins: int, losses: int, n: int, alpha: float) -> float:
    """Lower limit of `deciding_interval` at the one-sided error `alpha`."""

    def excess(margin: float) -> float:
        return exact_at_estimate(wins, losses, n, margin=margin).p_value - alpha

    start = tango_lower(wins, losses, n, distributions.normal_upper(alpha))
    return _move_outward(excess, start, least=-1.0, step=(wins - losses) / n - start)


def deciding_ratio_interval(
    wins: int, losses: int, both: int, *, confidence: float = CONFIDENCE
) -> Interval:
    """Interval of the ratios that neither the score test nor its exact companion rejects.

    Source: `ratio_interval`, as `deciding_interval`.
    """
    score_interval = ratio_interval(wins, losses, both, confidence=confidence)
    n, alpha = wins + losses + both, (1 - confidence) / 2
    low = _exact_ratio_lower(wins, losses, n, alpha)
    inverse = _exact_ratio_lower(losses, wins, n, alpha)
    high = 1 / inverse if inverse else math.inf
    return Interval(score_interval.estimate, low, high, confidence, score_interval.method)


def _exact_ratio_lower(wins: int, losses: int, n: int, alpha: float) -> float:
    def excess(ratio: float) -> float:
        test = exact_at_estimate(wins, losses, n, margin=ratio - 1, slope=ratio)
        return test.p_value - alpha

    start = ratio_lower(wins, losses, n, distributions.normal_upper(alpha))
    return _move_outward(excess, start, least=0.0, step=start / 8) if start else 0.0


def _move_outward(
    excess: Callable[[float], float], start: float, *, least: float, step: float
) -> float:
    """Return where a p-value's excess over the error vanishes, from `start` down to `least`."""
    high = start
    while high > least and excess(high) > 0:
        low = max(high - step, least)
        if low == least or excess(low) <= 0:
            # At the end of the scale every test rejects, and has no p-value.
            inside = low if low > least else least + (high - least) * 1e-9
            if excess(inside) > 0:
                return least
            return distributions.find_root(excess, inside, high)
        high, step = low, 2 * step
    return high


def exact_at_estimate(
    wins: int, losses: int, n: int, *, margin: float, slope: float = 1.0
) -> OneSidedTest:
    """Exact p-value of the score statistic at the estimated probability of a loss.

    The rule "score test and this one" has a size of at most .055 at .05, for every margin, ratio,
    number of cases and share of discordant pairs (`benchmarks.error_rates`).

    Args:
        wins: Cases that only tuned gets right.
        losses: Cases that only base gets right.
        n: All paired cases; for a ratio those that at least one model gets right. The cost is O(n):
            about 0.001 s at 1000.
        margin: Null value in (-1, 1) of the difference; for a ratio, `ratio - 1`.
        slope: 1 for a difference; for a ratio, the ratio.

    Source: Storer and Kim (1990), JASA 85:146-155; for non-inferiority of matched pairs Lloyd and
    Moldovan (2008), Statistics in Medicine 27:3540-3549: P(Z(B, C) >= z) at the
    maximum-likelihood estimate under the null hypothesis.

    Trap: an estimate, not a bound: the size may exceed the level by a tenth.
    """
    validation.check_discordant(wins, losses, n)
    validation.check_positive("slope", slope)
    validation.check_between("margin", margin, -1, slope)
    z = float(tango_z(wins, losses, n, margin, slope))
    loss = np.atleast_1d(null_losses(wins, losses, n, margin, slope))
    p_value = min(1.0, float(_tail(z, loss, n, margin, slope)[0]))
    return OneSidedTest(z, p_value, margin, "exact at the estimated null (Storer-Kim)")


def _tail(z: float, loss: Floats, n: int, margin: float, slope: float = 1.0) -> Floats:
    """Probability of a statistic of at least `z`, for each loss probability of the null hypothesis.

    The trinomial splits into losses ~ binomial(n, q) and wins ~ binomial(n - losses, .).
    """
    losses = _plausible_losses(loss, n)
    needed = _fewest_wins(losses, z - _TIE, n, margin, slope)
    q = loss[:, np.newaxis]
    win = np.clip((q + margin) / slope / np.where(q < 1, 1 - q, 1.0), 0, 1)
    mass = distributions.binomial_mass(losses, n, q)
    return np.asarray((mass * distributions.binomial_tail(needed, n - losses, win)).sum(axis=1))


def _plausible_losses(loss: Floats, n: int) -> Ints:
    """Numbers of losses outside which there is less than 1e-13, at each loss probability.

    Source: Bernstein's inequality for a sum of n losses.
    """
    fewest, most = n * float(loss.min()), n * float(loss.max())
    low = max(0, math.floor(fewest - 8 * math.sqrt(fewest) - 16))
    high = min(n, math.ceil(most + 8 * math.sqrt(most) + 16))
    return np.arange(low, high + 1)


def _fewest_wins(losses: Ints, threshold: float, n: int, margin: float, slope: float) -> Ints:
    """Fewest wins, for each number of losses, whose statistic reaches `threshold`.

    The statistic grows with the wins, so bisection finds them; n - losses + 1 means none do.
    """
    low, high = np.zeros_like(losses), n - losses + 1
    while (active := low < high).any():
        middle = (low + high) // 2
        reaches = tango_z(middle, losses, n, margin, slope) >= threshold
        high = np.where(active & reaches, middle, high)
        low = np.where(active & ~reaches, middle + 1, low)
    return low
