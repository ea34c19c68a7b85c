"""What stands in for a missing score: the worst for tuned and the best for base.

On an unbounded metric, which has no worst score, it is the worst difference that was observed.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.manifest import MetricRecord
from harness.verdict.pairs import Pairs


@dataclass(frozen=True, slots=True)
class Worst:
    """What stands in for missing scores."""

    base: float
    tuned: float
    difference: float | None
    """tuned − base where one of the two is known; None to put in the score itself."""

    @classmethod
    def of(cls, metric: MetricRecord, observed: Pairs, *, level: bool) -> Worst:
        """Return what stands in on a metric, given its complete pairs.

        Args:
            metric: The metric.
            observed: Its complete pairs.
            level: Whether tuned's level is what matters, not its difference to base.
        """
        if metric.range is not None:
            low, high = metric.range
            base, tuned = (high, low) if metric.higher_is_better else (low, high)
            return cls(base, tuned, None)
        if not observed.n:
            return cls(0.0, 0.0, 0.0)
        worst = min(range(observed.n), key=lambda i: observed.differences[i])
        if level:
            lowest = min(observed.tuned) if metric.higher_is_better else max(observed.tuned)
            return cls(observed.base[worst], lowest, None)
        base, tuned = observed.base[worst], observed.tuned[worst]
        return cls(base, tuned, tuned - base)

    def fill(self, base: float | None, tuned: float | None) -> tuple[float, float]:
        """Return both scores of a case, whichever of them are known."""
        if base is None:
            base = self.base
            if tuned is not None and self.difference is not None:
                base = tuned - self.difference
        if tuned is None:
            tuned = self.tuned if self.difference is None else base + self.difference
        return base, tuned
