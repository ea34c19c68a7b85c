"""Paired 0/1 scores: score interval and tests on the discordant counts.

`wins` are the cases that tuned gets right and base wrong, `losses` the reverse, `n` all pairs.
Wald, paired t and bootstrap intervals are absent on purpose: they collapse to zero width when no
discordant pair is seen, and then call a worse model non-inferior with probability up to .82.

Example:
    >>> interval = tango_interval(18, 7, 100)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.0291, 0.1934)
"""

import numpy as np

from harness.stats import numeric, validation
from harness.stats.result import Interval, Test
from harness.stats.tango import tango_lower, tango_z
from harness.stats.unconditional import exact_unconditional

__all__ = [
    "clopper_pearson",
    "exact_unconditional",
    "mcnemar_midp",
    "tango_interval",
    "tango_test",
]


def tango_interval(wins: int, losses: int, n: int, *, confidence: float = 0.90) -> Interval:
    """Score interval for the difference of two paired success rates, in [-1, 1].

    Args:
        wins: Cases that only tuned gets right.
        losses: Cases that only base gets right.
        n: All paired cases.
        confidence: Two-sided level.

    Raises:
        ValueError: If a count is negative or not whole, `wins + losses > n`, `n < 1`, or
            `confidence` is outside (0, 1).

    Source: Tango (1998), Statistics in Medicine 17:891-908, equations 6-10.

    Trap: not symmetric about the estimate; without any discordant pair it is
    plus or minus z^2/(n + z^2), not zero.
    """
    validation.discordant(wins, losses, n)
    validation.between("confidence", confidence, 0, 1)
    critical = numeric.normal_critical(confidence)
    low = tango_lower(wins, losses, n, critical)
    high = -tango_lower(losses, wins, n, critical)
    return Interval((wins - losses) / n, low, high, confidence, "Tango score")


def tango_test(wins: int, losses: int, n: int, *, margin: float = 0.0) -> Test:
    """Score test that the difference of two paired success rates exceeds `margin`.

    Args:
        wins: Cases that only tuned gets right.
        losses: Cases that only base gets right.
        n: All paired cases.
        margin: Null value in (-1, 1): the gain to beat, or minus the tolerance.

    Raises:
        ValueError: If the counts are impossible or `margin` is outside (-1, 1).

    Source: Tango (1998); statistic Z, p = P(normal >= Z).

    Traps: liberal for `margin > 0` (size up to .087 at n = 30: ask `exact_unconditional` too) and
    slightly so at 0 (ask `mcnemar_midp` too). All ties at margin 0 give Z = 0, p = .5, and it is
    the mid-p of 1 that speaks.
    """
    validation.discordant(wins, losses, n)
    validation.between("margin", margin, -1, 1)
    z = float(tango_z(wins, losses, n, margin))
    return Test(z, numeric.normal_tail(z), margin, "Tango score")


def mcnemar_midp(wins: int, losses: int) -> Test:
    """One-sided mid-p McNemar test that tuned wins more discordant pairs than it loses.

    Args:
        wins: Cases that only tuned gets right (the statistic).
        losses: Cases that only base gets right.

    Raises:
        ValueError: If a count is negative or not whole.

    Source: Fagerland, Lydersen and Laake (2013), BMC Med Res Methodol 13:91;
    p = P(X > wins) + P(X = wins)/2 with X binomial(wins + losses, 1/2).

    Traps: tests margin 0 only. Its size is at most .05 while up to .7 of the pairs are discordant
    but reaches .06 if all are; `exact_unconditional` never exceeds the level. Without discordant
    pairs p is 1, where the asymptotic McNemar of other libraries divides by zero.
    """
    validation.count("wins", wins)
    validation.count("losses", losses)
    method = "McNemar mid-p"
    if wins + losses == 0:
        return Test(0.0, 1.0, 0.0, method)
    total, half = np.int64(wins + losses), np.float64(0.5)
    tails = numeric.binomial_tail(np.array([wins, wins + 1]), np.array(total), np.array(half))
    return Test(float(wins), float(tails.mean()), 0.0, method)


def clopper_pearson(k: int, n: int, *, confidence: float = 0.90) -> Interval:
    """Exact interval for one success rate; each limit errs with at most (1 - confidence)/2.

    Args:
        k: Successes.
        n: Trials.
        confidence: Two-sided level.

    Raises:
        ValueError: If `k` is not within 0..n, `n < 1`, or `confidence` is outside (0, 1).

    Source: Clopper and Pearson (1934), Biometrika 26:404-413, by beta quantiles.

    Trap: conservative by design; to certify a rate of .95, 59 of 59 must pass.
    """
    validation.count("n", n, least=1)
    validation.count("k", k)
    if k > n:
        raise ValueError(f"k={k} must not exceed n={n}")
    validation.between("confidence", confidence, 0, 1)
    tail = (1 - confidence) / 2
    low = numeric.beta_quantile(tail, k, n - k + 1) if k else 0.0
    # The upper limit by reflection keeps full precision near 1 and exact symmetry.
    high = 1 - numeric.beta_quantile(tail, n - k, k + 1) if k < n else 1.0
    return Interval(k / n, low, high, confidence, "Clopper-Pearson")
