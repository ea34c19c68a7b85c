"""Many p-values at once.

SHIP needs no correction over guardrails: all must pass, and an intersection of level-alpha tests
has level alpha whatever their dependence (Berger 1982). Correction is for claims of which any one
would do: "one of the goals is met", "some metric regressed".
"""

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.stats import multitest  # type: ignore[import-untyped]  # ships no types

from harness.stats import validation
from harness.stats.validation import Floats


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values, in the order given.

    Args:
        p_values: One-sided p-values in [0, 1], at least one.

    Returns:
        Adjusted values; those at most alpha are claims of which, with probability 1 - alpha, none
        is false, whatever the dependence.

    Raises:
        ValueError: If there is no p-value or one is outside [0, 1] or NaN.

    Source: Holm (1979), Scandinavian Journal of Statistics 6:65-70.

    Trap: adjust all metrics that were looked at, not the promising ones.
    """
    return _adjust(p_values, "holm")


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Benjamini and Hochberg's adjusted p-values, in the order given.

    Args:
        p_values: p-values in [0, 1], at least one.

    Returns:
        Adjusted values; among those at most alpha, about a share alpha may be false.

    Raises:
        ValueError: If there is no p-value or one is outside [0, 1] or NaN.

    Source: Benjamini and Hochberg (1995), JRSS B 57:289-300.

    Trap: for exploring slices and subjects; never a gate.
    """
    return _adjust(p_values, "fdr_bh")


def _adjust(p_values: ArrayLike, method: str) -> Floats:
    values = validation.ranged("p_values", p_values, 0, 1)
    if values.size == 1:  # nothing to adjust, and multipletests collects the garbage of all
        return values
    return np.asarray(multitest.multipletests(values, method=method)[1], dtype=np.float64)
