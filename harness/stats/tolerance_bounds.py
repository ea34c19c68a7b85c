"""One-sided tolerance bounds: the worst rate that a sample is compatible with.

They are exact or proven for any number of independent cases.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.binary import clopper_pearson
from tunegate.harness.stats.clusters import design_effect
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


def worst_clustered_rate(losses: ArrayLike, clusters: Labels, *, alpha: float) -> float:
    """Return the largest rate compatible with 0/1 `losses` of cases in clusters.

    Source: Korn and Graubard (1998), Survey Methodology 24:193-201: the limit of Clopper and
    Pearson with counts divided by the design effect and by the ratio of the squared t quantiles of
    clusters and cases.

    Trap: not exact, since the design effect is estimated.
    """
    validation.check_between("alpha", alpha, 0, 0.5)
    array = validation.check_ranged("losses", losses, 0.0, 1.0)
    effect = design_effect(array, clusters)
    units = len(set(clusters))
    few = distributions.t_upper(alpha, units - 1) / distributions.t_upper(
        alpha, max(1, array.size - 1)
    )
    n = array.size / (effect * max(1.0, few) ** 2)
    count = float(array.mean()) * n
    return 1.0 if count >= n else distributions.beta_quantile(1 - alpha, count + 1, n - count)


def worst_mean(values: ArrayLike, *, alpha: float) -> float:
    """Return the largest mean compatible with values from 0 to 1.

    Source: the betting interval of Waudby-Smith and Ramdas (2024), JRSS B 86:1-27.
    """
    validation.check_between("alpha", alpha, 0, 0.5)
    array = validation.check_ranged("values", values, 0.0, 1.0)
    around_zero = e_process_interval(2 * array - 1, bound=1.0, confidence=1 - 2 * alpha)
    return min(1.0, (1 + float(around_zero.high)) / 2)


def order_statistic(values: ArrayLike, quantile: float) -> OrderStatistic:
    """Return the ceil(quantile n)-th smallest of n values."""
    validation.check_between("quantile", quantile, 0, 1)
    array = np.sort(validation.check_vector("values", values))
    rank = max(1, math.ceil(quantile * len(array)))
    return OrderStatistic(float(array[rank - 1]), len(array) - rank, len(array))


def worst_excess(limit: OrderStatistic, *, alpha: float) -> float:
    """Return the largest share of further values above an order statistic.

    Source: the share is Beta(above + 1, n - above) for any continuous distribution, and smaller
    where there are ties (Wilks 1941, Annals of Mathematical Statistics 12:91-96).
    """
    validation.check_between("alpha", alpha, 0, 0.5)
    return distributions.beta_quantile(1 - alpha, limit.above + 1, limit.n - limit.above)
