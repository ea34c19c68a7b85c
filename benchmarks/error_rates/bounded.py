"""Bounded scores that lose rarely and much: exact error rates at the margin.

Most cases keep their score, or change a little, and a small share fails altogether, so that the
mean loss is exactly the margin. Where the others do not vary, the number of failures is all that a
sample shows: it is binomial, and the gate's rule is asked once for each number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from benchmarks.error_rates import looks, rules
from benchmarks.error_rates.table import Row, Settings
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.stats.group_sequential import look_sizes

Floats = NDArray[np.float64]
Sample = Callable[[int, int], tuple[Pairs, float]]
"""(failures, cases) → the pairs of such a sample and what their difference must not exceed."""

SIZES = (50, 60, 100, 150, 200, 400)
PLANNED = (200, 400, 1000)
MARGINS = (0.01, 0.02, 0.05)
SMALL_GAINS = (0.002, 0.01, 0.05)
CONFIDENCE = 0.90


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of rare failures."""
    return [*_at_the_margin(settings), *_with_looks(settings)]


def failures(change: float, margin: float, failed: int, n: int) -> tuple[Pairs, float]:
    """Return cases that change by `change`, apart from those that lose the whole range."""
    base = [1.0] * failed + [0.5] * (n - failed)
    tuned = [0.0] * failed + [0.5 + change] * (n - failed)
    return rules.pairs_of(base, tuned, rules.SCORE), margin


def unseen_gains(margin: float, gained: int, n: int) -> tuple[Pairs, float]:
    """Return the other end: some cases gain the whole range, and a smaller gain is claimed."""
    base, tuned = [0.0] * gained + [0.5] * (n - gained), [1.0] * gained + [0.5] * (n - gained)
    return rules.pairs_of(base, tuned, rules.SCORE).exchanged(), -margin


def error(sample: Sample, n: int, share: float, confidence: float = CONFIDENCE) -> float:
    """Return the exact probability that a sample is called proven, `share` of all cases failing."""
    return float(stats.binom.pmf(np.arange(n + 1), n, share) @ _proofs(sample, n, confidence))


def _proofs(sample: Sample, n: int, confidence: float, most: int = 60) -> Floats:
    """Return whether each number of failures proves, up to the most that any cell sees."""
    proven = np.zeros(n + 1)
    for failed in range(min(n, most) + 1):
        pairs, margin = sample(failed, n)
        proven[failed] = rules.gate(pairs, margin, confidence)
    return proven


def ever(sample: Sample, sizes: Sequence[int], share: float) -> float:
    """Return the exact probability that any look calls it proven."""
    alive, total, before = np.ones(1), 0.0, 0
    for size, confidence in zip(sizes, looks.confidences(tuple(sizes)), strict=True):
        step = size - before
        alive = np.convolve(alive, stats.binom.pmf(np.arange(step + 1), step, share))
        proven = _proofs(sample, size, confidence).astype(bool)
        total += float(alive[proven].sum())
        alive[proven] = 0.0
        before = size
    return total


def _at_the_margin(settings: Settings) -> list[Row]:
    sizes = SIZES[:3] if settings.fast else SIZES
    table = []
    for n in sizes:
        for margin in MARGINS:
            what = f"rare failures, mean loss of the tolerance {margin:g}"
            table.append(_exact(what, n, partial(failures, 0.0, -margin), margin))
            what = f"the same, half of the loss on all other cases, {margin:g}"
            half = margin / 2
            table.append(_exact(what, n, partial(failures, -half, -margin), half / (1 - half)))
        for gain in SMALL_GAINS:
            what = f"gain 0: others gain {gain:g}, rare failures take it"
            table.append(_exact(what, n, partial(failures, gain, 0.0), gain / (1 + gain)))
        what = "rare gains, upper end: the mean gain of .02 is called smaller"
        table.append(_exact(what, n, partial(unseen_gains, 0.02), 0.02))
    return table


def _exact(what: str, n: int, sample: Sample, share: float) -> Row:
    return Row("bounded", what, str(n), error(sample, n, share))


def _with_looks(settings: Settings) -> list[Row]:
    table = []
    for n in PLANNED[:1] if settings.fast else PLANNED:
        sizes = look_sizes(n, first=looks.FIRST_CONTINUOUS)
        for margin in MARGINS:
            rate = ever(partial(failures, 0.0, -margin), sizes, margin)
            what = f"rare failures, tolerance {margin:g}, {len(sizes)} looks"
            table.append(Row("bounded", what, str(n), rate))
        rate = ever(partial(failures, 0.01, 0.0), sizes, 0.01 / 1.01)
        what = f"gain 0: others gain .01, rare failures take it, {len(sizes)} looks"
        table.append(Row("bounded", what, str(n), rate))
    return table
