"""One-sided tolerance bounds: the worst rate that a sample is compatible with.

They are exact or proven for any number of independent cases.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tunegate.harness.stats import validation
from tunegate.harness.stats.binary import clopper_pearson
from tunegate.harness.stats.clusters import clustered_rate_interval
from tunegate.harness.stats.confidence_sequences import e_process_interval
from tunegate.harness.stats.validation import Labels


@dataclass(frozen=True, slots=True)
class OrderStatistic:
    """An order statistic of a sample."""

    value: float
    above: int
    """How many of the sample come after it."""
    n: int
    """Size of the sample."""


def worst_rate(count: int, n: int, *, alpha: float) -> float:
    """Return the largest rate compatible with `count` events in `n` independent cases.

    Source: Clopper and Pearson (1934), Biometrika 26:404-413.
    """
    validation.check_between("alpha", alpha, 0, 0.5)
    return float(clopper_pearson(count, n, confidence=1 - 2 * alpha).high)


def worst_clustered_mean(losses: ArrayLike, clusters: Labels, *, alpha: float) -> float:
    """Return the largest mean compatible with `losses` from 0 to 1 of cases in clusters.

    Source: `clusters.clustered_rate_interval`, which holds however losses and sizes hang together.
    """
    validation.check_between("alpha", alpha, 0, 0.5)
    return float(clustered_rate_interval(losses, clusters, confidence=1 - 2 * alpha).high)


def worst_mean(values: ArrayLike, *, alpha: float) -> float:
    """Return the largest mean compatible with values from 0 to 1.

    Source: the betting interval of Waudby-Smith and Ramdas (2024), JRSS B 86:1-27.
    """
    validation.check_between("alpha", alpha, 0, 0.5)
    array = validation.check_ranged("values", values, 0.0, 1.0)
    around_zero = e_process_interval(2 * array - 1, bound=1.0, confidence=1 - 2 * alpha)
    return min(1.0, (1 + float(around_zero.high)) / 2)


def order_statistic(values: ArrayLike, quantile: float) -> OrderStatistic:
    """Return the ceil(quantile n)-th smallest of n values.

    The share of further values above it is at most `worst_rate(above, n)`: Beta(above + 1, n -
    above) for any continuous distribution, and smaller where there are ties (Wilks 1941, Annals of
    Mathematical Statistics 12:91-96).
    """
    validation.check_between("quantile", quantile, 0, 1)
    array = np.sort(validation.check_vector("values", values))
    rank = max(1, math.ceil(quantile * len(array)))
    return OrderStatistic(float(array[rank - 1]), len(array) - rank, len(array))
