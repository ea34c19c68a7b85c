"""Many p-values at once.

SHIP needs no correction over guardrails: all must pass, and an intersection of level-alpha tests
has level alpha whatever their dependence (Berger 1982). Correction is for claims where one
of several would do: "one of the goals is met", "some metric regressed".
"""

import numpy as np
from numpy.typing import ArrayLike

from tunegate.harness.stats import validation
from tunegate.harness.stats.validation import Floats, Ints


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values, in the order given.

    Returns:
        Adjusted values; with probability 1 - alpha every claim with a value of at most alpha is
        true, whatever the dependence.

    Source: Holm (1979), Scandinavian Journal of Statistics 6:65-70.

    Trap: adjust all metrics that were looked at, not the promising ones.
    """
    values, order = _rank_p_values(p_values)
    # The smallest of n is multiplied by n, the next by n - 1, …; none falls below one before it.
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return _restore_order(np.minimum(stepped, 1.0), order)


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Benjamini and Hochberg's adjusted p-values, in the order given.

    Returns:
        Adjusted values; among those at most alpha, about a share alpha may be false.

    Source: Benjamini and Hochberg (1995), JRSS B 57:289-300.

    Trap: for exploring slices and subjects; never a gate.
    """
    values, order = _rank_p_values(p_values)
    # The k-th smallest is multiplied by n / k; none exceeds one after it.
    stepped = values[order] * (len(values) / np.arange(1, len(values) + 1))
    return _restore_order(np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1.0), order)


def _rank_p_values(p_values: ArrayLike) -> tuple[Floats, Ints]:
    """Return the p-values as given, and the places of the smallest to the largest."""
    values = validation.check_ranged("p_values", p_values, 0, 1)
    return values, np.argsort(values, kind="stable")


def _restore_order(stepped: Floats, order: Ints) -> Floats:
    """Return adjusted p-values, given from the smallest to the largest, at their places."""
    adjusted = np.empty_like(stepped)
    adjusted[order] = stepped
    return adjusted
