"""Cases that belong together: limits for clustered 0/1 data.

Several questions on one passage are not independent; treating them as such errs with probability
.13 to .26 instead of .05.

A design effect is estimated from the clusters in the sample, and cannot allow for other kinds: one
in thirty documents on which every answer fails. Claims that something stays rare therefore take
each cluster as one observation of a bounded score, and allow for unseen clusters that are as bad as
possible: a tolerance by the limits of `paired_mean`, a certified level by Gaffke's bound, which is
Clopper and Pearson's limit if the cases of a cluster always agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.binary import ratio_lower, tango_lower, tango_z
from tunegate.harness.stats.paired_mean import MeanFit, Reach, fit_units
from tunegate.harness.stats.types import Interval, OneSidedTest
from tunegate.harness.stats.unit_means import guarded_units, independent_units, jackknife
from tunegate.harness.stats.validation import Floats, Ints, Labels

_LEAST_DISCORDANT = 5
"""Clusters with a discordant pair that an estimate of the design effect needs."""


def design_effect(differences: ArrayLike, clusters: Labels) -> float:
    """Factor by which clustering inflates the variance of the mean difference, at least 1.

    Source: Kish (1965), Survey Sampling: jackknife variance over the variance for independent
    cases. With discordant pairs in fewer than five clusters, the data do not show how far the cases
    of a cluster agree: the effect is then at least that of cases that always agree, the sum of
    squared sizes over the sum of sizes.
    """
    return _reduce(differences, clusters).effect


def clustered_rate_interval(
    successes: ArrayLike, clusters: Labels, *, confidence: float = CONFIDENCE
) -> Interval:
    """Interval for a success rate over clustered cases, valid however their failures are spread.

    Source: Gaffke (2005), Mathematical Methods of Statistics 14:451-467, as Learned-Miller and
    Thomas (2019), arXiv:1905.06208, describe it: quantiles of the mean with weights drawn from a
    flat Dirichlet distribution, in which one further observation at the end of the range takes
    part. Of equal clusters that are all right or all wrong it is the limit of Clopper and Pearson.
    A cluster counts with its size; the unseen one has the size of large ones
    (`unit_means.guarded_units`).

    Trap: 20 equal clusters without a failure leave a rate of .861 possible, whatever their size.
    """
    validation.check_between("confidence", confidence, 0, 1)
    values = validation.check_ranged("successes", successes, 0, 1)
    data = _clusters(values, clusters)
    alpha = (1 - confidence) / 2
    low = data.lower_limit(alpha, worst=0.0)
    high = 1 - _clusters(1 - values, clusters).lower_limit(alpha, worst=0.0)
    estimate = float(values.mean())
    return Interval(estimate, min(low, estimate), max(high, estimate), confidence, _GAFFKE)


def clustered_rate_p_value(successes: ArrayLike, clusters: Labels, rate: float) -> float:
    """P-value of "the success rate is at most `rate`": the inversion of the lower limit."""
    validation.check_between("rate", rate, 0, 1)
    values = validation.check_ranged("successes", successes, 0, 1)
    return _clusters(values, clusters).lower_tail(rate, worst=0.0)


def clustered_binary_interval(
    differences: ArrayLike, clusters: Labels, *, confidence: float = CONFIDENCE
) -> Interval:
    """Score interval for the difference of two success rates over clustered cases.

    Source: Tango (1998) on counts divided by the design effect (Rao and Scott 1992, Biometrics
    48:577-585), with the t quantile of the clusters less 1, counted as equal ones
    (`unit_means.independent_units`), in place of the normal one. A limit
    that is not beyond 0 is that of `paired_mean.mean_interval` over the clusters, if that is wider.
    """
    validation.check_between("confidence", confidence, 0, 1)
    data = _reduce(differences, clusters)
    critical, rare = distributions.t_critical(confidence, data.degrees), data.rare
    low = tango_lower(data.wins, data.losses, data.n, critical)
    high = -tango_lower(data.losses, data.wins, data.n, critical)
    if low < 0:
        low = min(low, rare.low(confidence))
    if high > 0:
        high = max(high, rare.high(confidence))
    return Interval((data.wins - data.losses) / data.n, low, high, confidence, _TANGO)


def clustered_binary_test(
    differences: ArrayLike, clusters: Labels, *, margin: float = 0.0
) -> OneSidedTest:
    """Test that the difference of two success rates over clustered cases exceeds `margin`.

    Source: the inversion of `clustered_binary_interval`, but for margins below 0 if the interval is
    above 0: "hardly worse" must allow for clusters that were not seen and are lost as a whole,
    however many cases of the others are won; "better" need not.

    Trap: clustered cases have no mid-p or exact companion.
    """
    validation.check_between("margin", margin, -1, 1)
    data = _reduce(differences, clusters)
    z = float(tango_z(data.wins, data.losses, data.n, margin))
    p_value = distributions.t_tail(z, data.degrees)
    if margin < 0:
        p_value = max(p_value, data.rare.p_value(margin))
    return OneSidedTest(z, p_value, margin, _TANGO)


def clustered_ratio_interval(
    tuned: ArrayLike,
    base: ArrayLike,
    clusters: Labels,
    *,
    ratio: float,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Score interval for the ratio of two success rates, tuned's to base's, over clustered cases.

    Args:
        tuned: 0 or 1 per case.
        base: Likewise; at least one is 1.
        clusters: One label per case, at least two different ones.
        ratio: Ratio above 0 at which the design effect is taken and a limit is guarded: the one
            that is tested.
        confidence: Two-sided level.

    Source: `binary.ratio_interval` on counts divided by the design effect, with the t quantile, and
    the limit of the mean of tuned - ratio * base, as `clustered_binary_interval`.
    """
    validation.check_between("confidence", confidence, 0, 1)
    data = _reduce_ratio(tuned, base, clusters, ratio)
    critical, rare = distributions.t_critical(confidence, data.degrees), data.rare
    level = float(np.asarray(base, dtype=np.float64).mean())
    low = ratio_lower(data.wins, data.losses, data.n, critical)
    inverse = ratio_lower(data.losses, data.wins, data.n, critical)
    high = 1 / inverse if inverse > 0 else math.inf
    if ratio < 1 and low < 1 and level > 0:
        low = min(low, ratio + rare.low(confidence) / level)
    if ratio > 1 and high > 1 and level > 0:
        high = max(high, ratio + rare.high(confidence) / level)
    estimate = float(np.asarray(tuned, dtype=np.float64).mean()) / level if level else math.inf
    return Interval(estimate, max(low, 0.0), high, confidence, _RATIO)


def clustered_ratio_test(
    tuned: ArrayLike, base: ArrayLike, clusters: Labels, *, ratio: float
) -> OneSidedTest:
    """Test that the ratio of two success rates over clustered cases, tuned's to base's, exceeds it.

    Source: the inversion of its lower limit; below 1 as for `clustered_binary_test`.
    """
    data = _reduce_ratio(tuned, base, clusters, ratio)
    z = float(tango_z(data.wins, data.losses, data.n, ratio - 1, ratio))
    p_value = distributions.t_tail(z, data.degrees)
    if ratio < 1:
        p_value = max(p_value, data.rare.p_value(0.0))
    return OneSidedTest(z, p_value, ratio, _RATIO)


_GAFFKE = "Gaffke, clusters as units"
_RATIO = "paired ratio, score / design effect, t; unseen clusters"
_TANGO = "Tango score / design effect, t; unseen clusters"


@dataclass(frozen=True, slots=True)
class _ClusterMeans:
    """Clusters, grouped by equal mean and size, with the size of an unseen one."""

    means: Floats
    sizes: Floats
    counts: Floats
    unseen: float
    """Size of large clusters (`unit_means.guarded_units`)."""

    def lower_tail(self, value: float, *, worst: float) -> float:
        """Return the p-value of "the mean is at most `value`", if `worst` is the least mean."""
        weights = np.append(self.sizes * (value - self.means), self.unseen * (value - worst))
        return distributions.exponential_sum_tail(weights, np.append(self.counts, 1.0))

    def lower_limit(self, alpha: float, *, worst: float) -> float:
        """Return the value whose p-value is `alpha`."""
        best = float(self.means.max())
        if best <= worst:
            return worst
        return distributions.find_root(
            lambda value: self.lower_tail(value, worst=worst) - alpha, worst, best
        )


def _clusters(values: Floats, clusters: Labels) -> _ClusterMeans:
    numbers = validation.check_labels("clusters", clusters, values.size)
    sizes = np.bincount(numbers).astype(np.float64)
    means = np.bincount(numbers, weights=values) / sizes
    # Rounded, so that equal means are one group in any order of summation.
    kinds, counts = np.unique(np.column_stack([means.round(12), sizes]), axis=0, return_counts=True)
    unseen = float(sizes.sum()) / guarded_units(sizes.tolist())
    return _ClusterMeans(kinds[:, 0], kinds[:, 1], counts.astype(np.float64), unseen)


def effective_counts(differences: ArrayLike, clusters: Labels) -> tuple[int, int, int]:
    """Wins, losses and cases, divided by the design effect and rounded, for exact tests.

    Trap: an exact test of them is not exact: the design effect is estimated.
    """
    data = _reduce(differences, clusters)
    wins, losses = round(data.wins), round(data.losses)
    return wins, losses, max(round(data.n), wins + losses, 1)


@dataclass(frozen=True, slots=True)
class _EffectiveCounts:
    """Counts that independent cases carrying the same information would have shown."""

    wins: float
    losses: float
    n: float
    effect: float
    degrees: float
    """Of the t quantile: clusters less 1, counted as equal ones."""
    rare: MeanFit
    """The mean over clusters, with its guards against clusters that were not seen."""


def _reduce(differences: ArrayLike, clusters: Labels) -> _EffectiveCounts:
    values = validation.check_vector("differences", differences)
    odd = np.flatnonzero(~np.isin(values, (-1, 0, 1)))
    if odd.size:
        raise ValueError(f"differences[{odd[0]}]={values[odd[0]]} must be -1, 0 or 1")
    numbers = validation.check_labels("clusters", clusters, values.size)
    effect = _effect(values, numbers)
    if np.unique(numbers[values != 0]).size < _LEAST_DISCORDANT:
        effect = max(effect, _agreed_effect(numbers))
    wins, losses = float((values > 0).sum()), float((values < 0).sum())
    return _EffectiveCounts(
        wins / effect,
        losses / effect,
        values.size / effect,
        effect=float(effect),
        degrees=max(independent_units(np.bincount(numbers).tolist()) - 1, 1.0),
        rare=_fit_clusters(values, numbers, (1.0, 1.0)),
    )


def _effect(values: Floats, numbers: Ints) -> float:
    """Jackknife variance of the mean over the variance of independent cases, at least 1."""
    sizes = np.bincount(numbers).astype(np.float64)
    sums = np.bincount(numbers, weights=values).astype(np.float64)
    error = jackknife(sums, sizes).error
    naive = values.var() / values.size
    return max(1.0, float(error**2 / naive)) if naive > 0 else 1.0


def _fit_clusters(values: Floats, numbers: Ints, reach: Reach) -> MeanFit:
    """Return the limits of a mean over clusters, each one observation.

    As for Gaffke's bound, an unseen cluster has the size of large ones.
    """
    sizes = np.bincount(numbers).astype(np.float64)
    sums = np.bincount(numbers, weights=values).astype(np.float64)
    bound = max(reach)
    return fit_units(sums / bound, sizes, bound, bound, reach)


def _agreed_effect(numbers: Ints) -> float:
    """Design effect if the cases of a cluster always agreed."""
    sizes = np.bincount(numbers).astype(np.float64)
    return float((sizes**2).sum() / numbers.size)


def _reduce_ratio(
    tuned: ArrayLike, base: ArrayLike, clusters: Labels, ratio: float
) -> _EffectiveCounts:
    """Counts for a ratio: `n` are the cases at least one model gets right.

    The design effect is the larger of that of tuned - ratio * base and of the plain difference.
    """
    t, b = (validation.check_ranged(k, v, 0, 1) for k, v in (("tuned", tuned), ("base", base)))
    validation.check_paired(t, b, "tuned and base")
    validation.check_positive("ratio", ratio)
    numbers = validation.check_labels("clusters", clusters, t.size)
    plain = _reduce(t - b, clusters)
    effect = max(plain.effect, _effect(t - ratio * b, numbers))
    right = float(np.maximum(t, b).sum())
    if not right:
        raise ValueError("tuned and base must hold a 1: without successes the ratio is undefined")
    return _EffectiveCounts(
        float((t > b).sum()) / effect,
        float((t < b).sum()) / effect,
        right / effect,
        effect=effect,
        degrees=plain.degrees,
        rare=_fit_clusters(t - ratio * b, numbers, (ratio, 1.0)),
    )
