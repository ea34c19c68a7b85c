"""Paired binary scores: Tango's score interval, exact and mid-p tests on discordant counts.

`wins` are the cases that tuned gets right and base wrong, `losses` the reverse, `n` all pairs.
Wald, paired t and bootstrap intervals are absent on purpose: they collapse to zero width when no
discordant pair is seen, and then call a worse model non-inferior with probability up to .82.

Tango's score statistic and its inversion: the core that binary, cluster and power rules share.
Counts may be fractional here (counts divided by a design effect, or true cell probabilities), so
this module checks nothing; the public functions do.

Exact unconditional test of a paired 0/1 comparison against a margin. The score test is slightly
liberal for positive margins. Here its p-value is computed exactly, as the worst case over the
unknown loss probability, restricted to a confidence set for it.

Example:
    >>> interval = tango_interval(18, 7, 100)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.0291, 0.1934)
"""

import numpy as np
from numpy.typing import ArrayLike

from tunegate.harness.defaults import CONFIDENCE
from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.types import Interval, OneSidedTest
from tunegate.harness.stats.validation import Floats, Ints


def tango_interval(wins: int, losses: int, n: int, *, confidence: float = CONFIDENCE) -> Interval:
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
    validation.check_discordant(wins, losses, n)
    validation.check_between("confidence", confidence, 0, 1)
    critical = distributions.normal_critical(confidence)
    low = tango_lower(wins, losses, n, critical)
    high = -tango_lower(losses, wins, n, critical)
    return Interval((wins - losses) / n, low, high, confidence, "Tango score")


def tango_test(wins: int, losses: int, n: int, *, margin: float = 0.0) -> OneSidedTest:
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
    validation.check_discordant(wins, losses, n)
    validation.check_between("margin", margin, -1, 1)
    z = float(tango_z(wins, losses, n, margin))
    return OneSidedTest(z, distributions.normal_tail(z), margin, "Tango score")


def mcnemar_midp(wins: int, losses: int) -> OneSidedTest:
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

    Args:
        k: Successes.
        n: Trials.
        confidence: Two-sided level.

    Raises:
        ValueError: If `k` is not within 0..n, `n < 1`, or `confidence` is outside (0, 1).

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


def null_losses(wins: ArrayLike, losses: ArrayLike, n: float, margin: float) -> Floats:
    """Maximum-likelihood probability of a loss when the difference equals `margin`.

    Source: Tango (1998), equation 9, with A = 2n, B = -b - c + (2n - b + c)m, C = -cm(1 - m).
    """
    b, c = np.asarray(wins, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    linear = -b - c + (2 * n - b + c) * margin
    constant = -c * margin * (1 - margin)
    surd = np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0))
    # Two forms of the same root: subtracting nearly equal numbers would lose all digits.
    total = surd + np.abs(linear)
    safe = np.where(total > 0, total, 1)
    larger = np.where(linear > 0, -2 * constant / safe, total / (4 * n))
    return np.maximum(larger, max(0.0, -margin))


def tango_z(wins: ArrayLike, losses: ArrayLike, n: float, margin: float) -> Floats:
    """Score statistic for "difference = margin", elementwise over the counts.

    Zero variance needs no discordant pair and margin 0; the statistic is then 0.
    """
    b, c = np.asarray(wins, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    variance = n * (2 * null_losses(b, c, n, margin) + margin * (1 - margin))
    scale = np.sqrt(np.where(variance > 0, variance, 1))
    return np.asarray(np.where(variance > 0, (b - c - n * margin) / scale, 0.0))


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


_OUTSIDE = 0.0025
"""Error spent on the confidence set for the loss probability (Berger and Boos' gamma)."""
_GRID = 121
"""Loss probabilities at which the tail is evaluated."""
_TIE = 1e-9
"""Statistics closer than this are equal up to rounding and count as "at least as extreme"."""


def exact_unconditional(wins: int, losses: int, n: int, *, margin: float) -> OneSidedTest:
    """Exact test that the difference of two paired success rates exceeds `margin`.

    Args:
        wins: Cases that only tuned gets right.
        losses: Cases that only base gets right.
        n: All paired cases; the cost is O(n): about 0.01 s at 300, 0.02 s at 1000.
        margin: Null value in (-1, 1).

    Returns:
        The score statistic with its exact p-value; never below 0.0025.

    Raises:
        ValueError: If the counts are impossible or `margin` is outside (-1, 1).

    Source: Berger and Boos (1994), JASA 89:1012-1016, with the score statistic of Tango (1998):
    p = gamma + max over q of P(Z(B, C) >= z | P(loss) = q, P(win) = q + margin), q in the
    two-sided 1 - gamma Clopper-Pearson interval of losses/n.

    Trap: conservative where the score test is accurate (margin <= 0); no interval belongs to it.
    """
    validation.check_discordant(wins, losses, n)
    validation.check_between("margin", margin, -1, 1)
    z = float(tango_z(wins, losses, n, margin))
    loss = _nuisance(losses, n, margin)
    needed = _fewest_wins(z - _TIE, n, margin)
    p_value = min(1.0, float(_tail(loss, needed, n, margin).max()) + _OUTSIDE)
    return OneSidedTest(z, p_value, margin, "exact unconditional (Berger-Boos)")


def _nuisance(losses: int, n: int, margin: float) -> Floats:
    """Grid over the plausible loss probabilities that the null hypothesis allows.

    Clipping moves an implausible null (an empty intersection) to its nearest edge; leaving the
    set empty would turn "all losses" into the smallest p-value there is.
    """
    tail = _OUTSIDE / 2
    low = distributions.beta_quantile(tail, losses, n - losses + 1) if losses else 0.0
    high = 1 - distributions.beta_quantile(tail, n - losses, losses + 1) if losses < n else 1.0
    edges = np.clip([low, high], max(0.0, -margin), (1 - margin) / 2)
    return np.linspace(edges[0], edges[1], _GRID)


def _fewest_wins(threshold: float, n: int, margin: float) -> Ints:
    """Fewest wins, for each number of losses 0..n, whose statistic reaches `threshold`.

    The statistic grows with the wins, so bisection finds them; n - losses + 1 means none do.
    """
    losses = np.arange(n + 1)
    low, high = np.zeros_like(losses), n - losses + 1
    while (active := low < high).any():
        middle = (low + high) // 2
        reaches = tango_z(middle, losses, n, margin) >= threshold
        high = np.where(active & reaches, middle, high)
        low = np.where(active & ~reaches, middle + 1, low)
    return low


def _tail(loss: Floats, needed: Ints, n: int, margin: float) -> Floats:
    """Probability of at least `needed` wins, for each loss probability of the grid.

    The trinomial splits into losses ~ binomial(n, q) and wins ~ binomial(n - losses, .).
    """
    losses = np.arange(n + 1)
    q = loss[:, np.newaxis]
    win = np.clip((q + margin) / (1 - q), 0, 1)
    mass = distributions.binomial_mass(losses, n, q)
    return np.asarray((mass * distributions.binomial_tail(needed, n - losses, win)).sum(axis=1))
