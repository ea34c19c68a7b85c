"""Exact unconditional test of a paired 0/1 comparison against a margin.

The score test is slightly liberal for positive margins. Here its p-value is computed exactly, as
the worst case over the unknown loss probability, restricted to a confidence set for it.
"""

import numpy as np

from harness.stats import numeric, validation
from harness.stats.result import Test
from harness.stats.tango import tango_z
from harness.stats.validation import Floats, Ints

_OUTSIDE = 0.0025
"""Error spent on the confidence set for the loss probability (Berger and Boos' gamma)."""
_GRID = 121
"""Loss probabilities at which the tail is evaluated."""
_TIE = 1e-9
"""Statistics closer than this are equal up to rounding and count as "at least as extreme"."""


def exact_unconditional(wins: int, losses: int, n: int, *, margin: float) -> Test:
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
    validation.discordant(wins, losses, n)
    validation.between("margin", margin, -1, 1)
    z = float(tango_z(wins, losses, n, margin))
    loss = _nuisance(losses, n, margin)
    needed = _fewest_wins(z - _TIE, n, margin)
    p_value = min(1.0, float(_tail(loss, needed, n, margin).max()) + _OUTSIDE)
    return Test(z, p_value, margin, "exact unconditional (Berger-Boos)")


def _nuisance(losses: int, n: int, margin: float) -> Floats:
    """Grid over the plausible loss probabilities that the null hypothesis allows.

    Clipping moves an implausible null (an empty intersection) to its nearest edge; leaving the
    set empty would turn "all losses" into the smallest p-value there is.
    """
    tail = _OUTSIDE / 2
    low = numeric.beta_quantile(tail, losses, n - losses + 1) if losses else 0.0
    high = 1 - numeric.beta_quantile(tail, n - losses, losses + 1) if losses < n else 1.0
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
    mass = numeric.binomial_mass(losses, n, q)
    return np.asarray((mass * numeric.binomial_tail(needed, n - losses, win)).sum(axis=1))
