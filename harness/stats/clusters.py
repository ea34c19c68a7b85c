"""Cases that belong together: the cluster jackknife and score intervals for clustered 0/1 data.

Several questions on one passage are not independent; treating them as such errs with probability
.13 to .26 where .05 was promised.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tunegate.harness.defaults import CONFIDENCE
from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.binary import tango_lower, tango_z
from tunegate.harness.stats.types import Interval, OneSidedTest
from tunegate.harness.stats.validation import Floats

Labels = Sequence[Hashable] | NDArray[np.generic]
"""One cluster label per case, in the order of the cases."""

_TELLING = 5
"""Clusters with a discordant pair from which on the design effect can be estimated."""
_ROUNDING = 1e-13
"""Standard errors below this, on data scaled to at most 1, are rounding, not spread."""


@dataclass(frozen=True, slots=True)
class JackknifeMean:
    """A case-weighted mean with its delete-one-cluster standard error."""

    mean: float
    """Sum of all values divided by the number of cases."""
    error: float
    """Standard error; exactly 0 if leaving a cluster out changes nothing."""


def jackknife(sums: Floats, sizes: Floats) -> JackknifeMean:
    """Delete-one-cluster jackknife (CR3) of a mean, from cluster sums and sizes.

    Source: Bell and McCaffrey (2002), Survey Methodology 28:169-181:
    v = (G - 1)/G * sum of squared deviations of the leave-one-out means. With equal sizes it is
    the ordinary standard error of the cluster means.
    """
    units = sums.size
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    squares = ((left_out - left_out.mean()) ** 2).sum()
    error = float(np.sqrt((units - 1) / units * squares))
    return JackknifeMean(float(sums.sum() / sizes.sum()), error if error > _ROUNDING else 0.0)


def design_effect(differences: ArrayLike, clusters: Labels) -> float:
    """Factor by which clustering inflates the variance of the mean difference, at least 1.

    Args:
        differences: One value in {-1, 0, 1} per case.
        clusters: One label per case, at least two different ones.

    Raises:
        ValueError: If a difference is not -1, 0 or 1, or there are fewer than two clusters.

    Source: Kish (1965), Survey Sampling: jackknife variance over the variance for independent
    cases. Where fewer than five clusters hold a discordant pair, the data cannot tell how far the
    cases of a cluster agree: the effect is then at least what it is if they always did, the sum of
    squared sizes over the sum of sizes.
    """
    return _reduce(differences, clusters).effect


def clustered_binary_interval(
    differences: ArrayLike, clusters: Labels, *, confidence: float = CONFIDENCE
) -> Interval:
    """Score interval for the difference of two success rates over clustered cases.

    Args:
        differences: tuned minus base per case, each -1, 0 or 1.
        clusters: One label per case, at least two different ones.
        confidence: Two-sided level.

    Raises:
        ValueError: If a difference is not -1, 0 or 1, there are fewer than two clusters, or
            `confidence` is outside (0, 1).

    Source: Tango (1998) on counts divided by the design effect (Rao and Scott 1992, Biometrics
    48:577-585), with the t quantile of G - 1 degrees of freedom in place of the normal one.

    Trap: somewhat liberal when fewer than ten clusters hold a discordant pair; `benchmarks` has the
    rates.
    """
    validation.check_between("confidence", confidence, 0, 1)
    data = _reduce(differences, clusters)
    critical = distributions.t_critical(confidence, data.degrees)
    low = tango_lower(data.wins, data.losses, data.n, critical)
    high = -tango_lower(data.losses, data.wins, data.n, critical)
    estimate = (data.wins - data.losses) / data.n
    return Interval(estimate, low, high, confidence, "Tango score / design effect, t")


def clustered_binary_test(
    differences: ArrayLike, clusters: Labels, *, margin: float = 0.0
) -> OneSidedTest:
    """Test that the difference of two success rates over clustered cases exceeds `margin`.

    Args:
        differences: tuned minus base per case, each -1, 0 or 1.
        clusters: One label per case, at least two different ones.
        margin: Null value in (-1, 1).

    Raises:
        ValueError: If a difference is not -1, 0 or 1, there are fewer than two clusters, or
            `margin` is outside (-1, 1).

    Source: the inversion of `clustered_binary_interval`, so that p-value and interval agree.

    Trap: there is no mid-p or exact companion for clustered cases.
    """
    validation.check_between("margin", margin, -1, 1)
    data = _reduce(differences, clusters)
    z = float(tango_z(data.wins, data.losses, data.n, margin))
    return OneSidedTest(
        z, distributions.t_tail(z, data.degrees), margin, "Tango score / design effect, t"
    )


@dataclass(frozen=True, slots=True)
class _EffectiveCounts:
    """Counts that independent cases carrying the same information would have shown."""

    wins: float
    losses: float
    n: float
    effect: float
    degrees: int


def _reduce(differences: ArrayLike, clusters: Labels) -> _EffectiveCounts:
    values = validation.check_vector("differences", differences)
    odd = np.flatnonzero(~np.isin(values, (-1, 0, 1)))
    if odd.size:
        raise ValueError(f"differences[{odd[0]}]={values[odd[0]]} must be -1, 0 or 1")
    numbers = validation.check_labels("clusters", clusters, values.size)
    sizes = np.bincount(numbers).astype(np.float64)
    sums = np.bincount(numbers, weights=values).astype(np.float64)
    error = jackknife(sums, sizes).error
    naive = values.var() / values.size
    effect = max(1.0, error**2 / naive) if naive > 0 else 1.0
    if np.unique(numbers[values != 0]).size < _TELLING:
        effect = max(effect, float((sizes**2).sum() / values.size))
    wins, losses = float((values > 0).sum()), float((values < 0).sum())
    return _EffectiveCounts(
        wins / effect, losses / effect, values.size / effect, float(effect), sizes.size - 1
    )
