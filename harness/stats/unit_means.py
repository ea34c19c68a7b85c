"""Means of independent units: cases, or clusters of cases that belong together.

A unit is a sum and a size; the mean is the sum of all values divided by the number of cases. Its
limits come from leaving out one unit at a time, and from the empirical likelihood if a few large
losses and gains make up the sum.

Example:
    >>> sums, sizes = np.array([1.0, -1.0, 2.0, 0.0]), np.array([2.0, 2.0, 2.0, 2.0])
    >>> jackknife(sums, sizes).mean
    0.25
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tunegate.harness.stats import distributions
from tunegate.harness.stats.validation import Floats

_ROUNDING = 1e-13
"""Standard errors below this, on data scaled to at most 1, are rounding, not spread."""
_EDGE = 1e-12
"""Distance of the likelihood's multiplier from the end of its range."""
_INFORMATION = 3.0
"""Units times this, over (kurtosis - 1), are the degrees of freedom of a standard error. With 4,
populations of three values err with up to .0591; with Satterthwaite's 2, power is up to .02 lower.
Without the interval's own degrees of freedom they err with .0604."""

_TWO_KINDS = 0.9
"""Share of the variance between two groups of units from which they count as two values; it is .75
for uniform values, .64 for normal ones."""


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


def independent_units(sizes: Iterable[float]) -> float:
    """Equivalent number of clusters of equal size: (sum m)^2 / sum m^2.

    Source: Kish (1965), Survey Sampling: the effect of unequal weights.
    """
    cluster_sizes = list(sizes)
    return sum(cluster_sizes) ** 2 / sum(size**2 for size in cluster_sizes)


_LARGE = 0.1
"""Share of the cases whose clusters, the largest ones, count as large."""


def guarded_units(sizes: Iterable[float]) -> float:
    """Clusters that a guard against unseen ones counts: cases over the mean size of large clusters.

    Large are the clusters that hold a tenth of the cases. Those that fail may be the large ones:
    long documents fail where short ones do not. With the mean size of all cases' clusters, a
    tolerance errs with .12 if a quarter of the clusters is twice as large and only these fail, and
    with .16 if sizes are Poisson; so counted, with .04 and .055.
    """
    largest_first = sorted(sizes, reverse=True)
    cases, clusters = _LARGE * sum(largest_first), 0.0
    for size in largest_first:
        clusters += min(1.0, cases / size)
        cases -= size
        if cases <= 0:
            break
    return clusters / _LARGE


def lattice_step(sums: Floats, sizes: Floats) -> float:
    """Return the step of a mean whose units take two values; 0 if the values are spread.

    It is the effect of one unit that changes its value. A tail that ends on a step has half of its
    probability more than the normal tail, so the mean is lowered by half a step (Cox 1970,
    Biometrika 57:217-219). The step is reduced if two groups of neighbors leave variance within,
    and is 0 below `_TWO_KINDS`.
    """
    apart = np.sort(sums - sums.sum() / sizes.sum() * sizes)
    total = float((apart**2).sum())
    if total <= _ROUNDING:
        return 0.0
    below = np.arange(1, apart.size)
    above = apart.size - below
    rising = -np.cumsum(apart)[:-1]
    # The values add up to 0, so the upper group's sum is minus the lower one's.
    between = rising**2 * (1 / below + 1 / above)
    best = int(between.argmax())
    step = float(rising[best] * (1 / below[best] + 1 / above[best]))
    degree = max(0.0, (float(between[best]) / total - _TWO_KINDS) / (1 - _TWO_KINDS))
    return degree * step / float(sizes.sum())


@dataclass(frozen=True, slots=True, eq=False)
class EmpiricalLikelihood:
    """Lower limits of a mean by the signed root of its empirical likelihood ratio.

    The weights of the units are changed as little as possible so that their mean is the margin.
    Units far below it then weigh more than their share of the sample, like the variance under the
    null hypothesis in a score test. The t statistic, even with Hall's correction, would take one
    total loss among few large gains for strong evidence.

    Source: Owen (1988), Biometrika 75:237-249; for clusters, of sums less margin times size. The
    root is compared with a t quantile whose degrees of freedom fall with the kurtosis: the variance
    of a sample variance is (kurtosis - 1)/n times its square (Satterthwaite 1946). Their inverse is
    added to that of the interval's degrees of freedom.
    """

    sums: Floats
    """Sums of the units' values."""
    sizes: Floats
    """Cases of each unit."""
    degrees: float
    """Degrees of freedom of the t quantile."""

    @classmethod
    def of(cls, sums: Floats, sizes: Floats, degrees: float) -> Self:
        """Return the likelihood of units that vary.

        Args:
            sums: Sums of the units' values.
            sizes: Cases of each unit.
            degrees: Degrees of freedom of the t interval.
        """
        apart = sums - sums.sum() / sizes.sum() * sizes
        squares = (apart / np.abs(apart).max()) ** 2
        excess = float((squares**2).mean() / squares.mean() ** 2) - 1
        effective = 1 / (1 / degrees + excess / (_INFORMATION * sums.size))
        return cls(sums, sizes, max(1.0, effective))

    def mirrored(self, sign: float) -> Self:
        """Return the likelihood of `sign` times the values; -1 is for upper limits."""
        return self if sign > 0 else replace(self, sums=-self.sums)

    def root(self, margin: float) -> float:
        """Return the signed root at a margin: 0 if the mean is below it, infinite if no unit is."""
        apart = self.sums - margin * self.sizes
        lowest = float(apart.min())
        if lowest >= 0:
            return math.inf
        scaled = apart / -lowest
        if scaled.sum() <= 0:
            return 0.0

        def pull(multiplier: float) -> float:
            return float((scaled / (1 + multiplier * scaled)).sum())

        multiplier = 1 - _EDGE
        if pull(multiplier) < 0:
            multiplier = distributions.find_root(pull, 0.0, multiplier)
        return math.sqrt(2 * max(0.0, float(np.log1p(multiplier * scaled).sum())))

    def p_value(self, margin: float) -> float:
        """Smallest one-sided error at which the limit clears `margin`."""
        return distributions.t_tail(self.root(margin), self.degrees)

    def lower(self, limit: float, alpha: float) -> float:
        """Return the lower of `limit` and this lower limit at the one-sided error `alpha`.

        Args:
            limit: Another lower limit, not above the mean.
            alpha: Below 0.5.
        """
        critical = distributions.t_upper(alpha, self.degrees)
        if self.root(limit) >= critical:
            return limit
        least = float((self.sums / self.sizes).min())
        low, step = limit, jackknife(self.sums, self.sizes).error
        while low > least and self.root(low) < critical:
            low, step = max(least, low - step), 2 * step

        def excess(margin: float) -> float:
            return min(self.root(margin), 2 * critical) - critical

        return distributions.find_root(excess, low, limit)
