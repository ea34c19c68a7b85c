"""Which of a suite's cases a gate rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tunegate.harness.comparison.pairs import shared_clusters
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.suite.suite import Suite


def independent_share(cases: Sequence[Case]) -> float:
    """Return how many clusters the guards count, divided by the number of cases."""
    from tunegate.harness.stats.unit_means import guarded_units

    sizes = Counter(case.cluster or f"\0{case.id}" for case in cases).values()
    return guarded_units(sizes) / len(cases) if cases else 1.0


def cases_on(suite: Suite, tag: str | None) -> list[Case]:
    """Return the suite's cases, those with a tag if one is given."""
    return [case for case in suite.cases if tag is None or tag in case.tags]


def cluster_count(cases: Sequence[Case]) -> int | None:
    """Return the number of clusters; None if every case is its own."""
    names = shared_clusters([c.cluster or f"\0{i}" for i, c in enumerate(cases)])
    return None if names is None else len(set(names))


def count_asked(suite: Suite, metric: Metric, tag: str | None = None) -> int:
    """Return how many cases the metric scores, with a tag if one is given."""
    timed = metric.needs is CellKind.LATENCY
    cases = suite.cases[: suite.generation.latency_cases] if timed else suite.cases
    return sum(tag is None or tag in case.tags for case in cases)
