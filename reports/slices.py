"""The paired difference by tag: where to look, never what to decide."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from reports.data import ReportData
from reports.pairs import MetricFacts

ENOUGH = 20
"""Cases from which on a subject's difference is shown as a number."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One metric on the cases with one tag."""

    metric: MetricFacts
    tag: str
    n: int
    """Complete pairs."""
    base: float
    tuned: float

    @property
    def enough(self) -> bool:
        """Whether there are cases enough for a number."""
        return self.n >= ENOUGH

    @property
    def delta(self) -> float:
        """Mean of tuned − base."""
        return self.tuned - self.base

    @property
    def change(self) -> float:
        """The difference with + for better, as a share of the metric's span."""
        sign = 1 if self.metric.higher_is_better else -1
        return sign * self.delta / self.metric.span


def by_tag(data: ReportData) -> tuple[Slice, ...]:
    """Return every gated metric on every tag, worst first, those with too few cases last."""
    values: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for pair in data.pairs:
        for score in pair.scores:
            if not score.metric.gated or score.delta is None or not score.base:
                continue
            level = score.base.value or 0.0
            for tag in pair.case.case.tags:
                key = pair.suite, score.metric.name, tag
                values[key].append((level, level + score.delta))
    found = [_slice(data, key, levels) for key, levels in values.items()]
    return tuple(sorted(found, key=lambda s: (not s.enough, s.change if s.enough else 0, s.tag)))


def _slice(data: ReportData, key: tuple[str, str, str], levels: list[tuple[float, float]]) -> Slice:
    suite, metric, tag = key
    n = len(levels)
    return Slice(
        metric=data.metrics[suite, metric],
        tag=tag,
        n=n,
        base=sum(base for base, _ in levels) / n,
        tuned=sum(tuned for _, tuned in levels) / n,
    )
