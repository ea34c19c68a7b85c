"""Tango's score statistic and its inversion: the core that binary, cluster and power rules share.

Counts may be fractional here (counts divided by a design effect, or true cell probabilities), so
this module checks nothing; the public functions do.
"""

import numpy as np
from numpy.typing import ArrayLike

from harness.stats import numeric
from harness.stats.validation import Floats


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

    return numeric.root(excess, -1 + 1e-12, estimate)
