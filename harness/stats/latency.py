"""Latency: how many times slower or faster tuned is, and whether a promise is kept.

Ratios are tuned over base: 1.10 reads "tuned takes 10 % longer". Discard warm-up calls and ask the
two models in turn, each first every other time: a drifting machine then slows down both alike, and
what is left is correlated from case to case, which blocks of neighbours (`time_blocks`) allow for.
Times of models that were asked one after the other cannot be compared by any statistic.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.paired_mean import mean_interval
from tunegate.harness.stats.types import Interval, OneSidedTest
from tunegate.harness.stats.validation import Floats, Labels

_BATCH = 100
"""Resamples drawn at once; bounds the memory at a few megabytes per thousand cases."""


_FEWEST_BLOCKS = 10
"""Blocks from which their spread is dependable."""


def time_blocks(n: int) -> tuple[str, ...] | None:
    """Return the block of each of n cases that were timed one after the other.

    Blocks hold an even number of neighbours, so that who was asked first cancels within each, and
    grow with the root of n. Passed as clusters they make the interval of a mean allow for load that
    lasts over several calls.

    Args:
        n: Cases, in the order in which they were timed.

    Returns:
        Block labels; None below 20 cases, which make too few blocks.

    Source: batch means (Conway 1963, Management Science 10:47-61); simulation: with calls whose
    load is correlated by .3 to .7 from call to call, an end errs with .047 to .056 at n = 30 and
    100, where single cases err with .056 to .065.
    """
    size = max(2, 2 * round(math.sqrt(n) / 4))
    if n < _FEWEST_BLOCKS * size:
        return None
    return tuple(f"block {index // size}" for index in range(n))


def geometric_mean_ratio(
    base: ArrayLike,
    tuned: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    clusters: Labels | None = None,
) -> Interval:
    """Interval for the geometric mean of tuned/base, paired by case.

    Returns:
        The ratio; (0, inf) as limits where the log-ratios show no spread.

    Source: `paired_mean.mean_interval` on log(tuned) - log(base), unbounded, then exp.

    Trap: speaks of the typical case, not of the slowest ones.
    """
    before, after = _durations(base, tuned)
    logs = mean_interval(np.log(after) - np.log(before), confidence=confidence, clusters=clusters)
    estimate, low, high = (_exp(x) for x in (logs.estimate, logs.low, logs.high))
    return Interval(estimate, low, high, confidence, f"geometric mean ratio, {logs.method}")


def latency_quantile(durations: ArrayLike, share: float) -> float:
    """Quantile of one model's latency, as `quantile_ratio` estimates it.

    Args:
        durations: Durations, one per case.
        share: In (0, 1), for example 0.95.

    Source: Harrell and Davis (1982), Biometrika 69:635-640.
    """
    values = validation.check_vector("durations", durations)
    validation.check_between("share", share, 0, 1)
    return float(np.sort(values) @ _harrell_davis(values.size, share))


def smallest_quantile_n(quantile: float) -> int:
    """Fewest cases for which `quantile_ratio` keeps its level: 20, 50, 100 at .5, .9, .95.

    Source: simulation (at p95, n = 50 errs with .073, n = 100 with .046): five expected cases
    beyond the quantile, and never fewer than 20 cases.
    """
    validation.check_between("quantile", quantile, 0, 1)
    return max(20, math.ceil(5 / min(quantile, 1 - quantile) - 1e-6))


def quantile_ratio(
    base: ArrayLike,
    tuned: ArrayLike,
    *,
    quantile: float,
    seed: int,
    confidence: float = CONFIDENCE,
    resamples: int = 2000,
) -> Interval:
    """Interval for the ratio of a latency quantile, tuned over base.

    Returns:
        The ratio; (0, inf) as limits where no resample differs from another.

    Source: Harrell and Davis (1982), Biometrika 69:635-640; paired percentile bootstrap.

    Traps: needs `smallest_quantile_n(quantile)` cases; less precise than `geometric_mean_ratio`.
    """
    before, after = _durations(base, tuned)
    validation.check_between("confidence", confidence, 0, 1)
    validation.check_count("seed", seed)
    validation.check_count("resamples", resamples, least=200)
    least = smallest_quantile_n(quantile)
    if before.size < least:
        raise ValueError(f"n={before.size} must be at least {least} for quantile={quantile}")
    weights = _harrell_davis(before.size, quantile)
    estimate = float((np.sort(after) @ weights) / (np.sort(before) @ weights))
    ratios = _resampled_ratios(before, after, weights, np.random.default_rng(seed), resamples)
    tail = (1 - confidence) / 2
    low, high = (float(x) for x in np.quantile(ratios, [tail, 1 - tail]))
    if high - low <= 1e-12 * high:
        low, high = 0.0, math.inf
    low, high = min(low, estimate), max(high, estimate)
    return Interval(estimate, low, high, confidence, "Harrell-Davis ratio, percentile bootstrap")


def service_level(durations: ArrayLike, *, limit: float, quantile: float = 0.95) -> OneSidedTest:
    """Exact test of the promise "the `quantile` of the latency is at most `limit`".

    Args:
        durations: Durations of one model, one per case.
        limit: Promised duration, same unit.
        quantile: Share of cases that must keep it, in (0, 1).

    Returns:
        The number of cases over the limit and the p-value of "the share over the limit is at
        least 1 - quantile" (the margin); small means the promise is kept.

    Source: binomial; p <= alpha exactly if the Clopper-Pearson upper limit is at most
    1 - quantile.

    Trap: with no case over the limit, p95 still needs 59 cases and p99 needs 299.
    """
    values = validation.check_vector("durations", durations)
    validation.check_positive("limit", limit)
    validation.check_between("quantile", quantile, 0, 1)
    over = np.array(int((values > limit).sum()))
    size, rate = np.array(values.size), np.array(quantile)
    p_value = float(distributions.binomial_tail(size - over, size, rate))
    return OneSidedTest(float(over), p_value, 1 - quantile, "exact binomial")


def _durations(base: ArrayLike, tuned: ArrayLike) -> tuple[Floats, Floats]:
    before, after = validation.check_vector("base", base), validation.check_vector("tuned", tuned)
    validation.check_paired(before, after, "base, tuned")
    for name, values in (("base", before), ("tuned", after)):
        bad = np.flatnonzero(values <= 0)
        if bad.size:
            raise ValueError(f"{name}[{bad[0]}]={values[bad[0]]} must be positive")
    return before, after


def _exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf


def _harrell_davis(n: int, quantile: float) -> Floats:
    """Weights of the order statistics: beta probabilities of the n equal steps."""
    edges = np.arange(n + 1) / n
    return distributions.beta_steps(edges, (n + 1) * quantile, (n + 1) * (1 - quantile))


def _resampled_ratios(
    base: Floats, tuned: Floats, weights: Floats, rng: np.random.Generator, resamples: int
) -> Floats:
    """Quantile ratios of resampled pairs."""
    ratios = []
    for start in range(0, resamples, _BATCH):
        rows = min(_BATCH, resamples - start)
        picks = rng.integers(base.size, size=(rows, base.size))
        above, below = np.sort(tuned[picks], axis=1), np.sort(base[picks], axis=1)
        ratios.append((above @ weights) / (below @ weights))
    return np.concatenate(ratios)
