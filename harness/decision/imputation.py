"""Imputation: what takes the place of missing scores, in the worst or the best case for tuned.

The worst case is the worst score for tuned and the best for base, the best case the reverse. A
metric without a range has no such scores: the worst, or best, observed difference is used.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.records.manifest import MetricRecord


@dataclass(frozen=True, slots=True)
class ExtremeImputation:
    """The scores that replace missing ones, in the worst or the best case for tuned."""

    base: float
    tuned: float
    difference: float | None
    """tuned − base, to complete a pair with one known score; None to use the score itself."""

    @classmethod
    def of(
        cls, metric: MetricRecord, observed: Pairs, *, level: bool, best: bool = False
    ) -> ExtremeImputation:
        """Return the scores to put in, given a metric's complete pairs.

        They are the worst for tuned, or the `best`; `level` is whether tuned's level matters, not
        its difference to base.
        """
        tuned_high = metric.higher_is_better is best
        if metric.range is not None:
            low, high = metric.range
            return cls(low, high, None) if tuned_high else cls(high, low, None)
        if not observed.n:
            return cls(0.0, 0.0, 0.0)
        extreme = (max if best else min)(range(observed.n), key=lambda i: observed.differences[i])
        base, tuned = observed.base[extreme], observed.tuned[extreme]
        if level:
            return cls(base, (max if tuned_high else min)(observed.tuned), None)
        return cls(base, tuned, tuned - base)

    def fill(self, base: float | None, tuned: float | None) -> tuple[float, float]:
        """Return both scores of a case, whichever are known."""
        if base is None:
            difference = None if tuned is None else self.difference
            base = self.base if tuned is None or difference is None else tuned - difference
        if tuned is None:
            tuned = self.tuned if self.difference is None else base + self.difference
        return base, tuned
