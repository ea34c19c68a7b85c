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
    """Return the cases that gates on a tag rest on; all but variants without one."""
    return [case for case in suite.cases if case.counts_for(tag)]


def prompts_on(suite: Suite, tag: str | None = None) -> list[Case]:
    """Return one case for each prompt, of those with a tag if one is given."""
    return _drop_copies(suite, cases_on(suite, tag))


def _drop_copies(suite: Suite, cases: Sequence[Case]) -> list[Case]:
    first = {case: group[0] for group in suite.equal_prompts for case in group}
    return list({first.get(case.id, case.id): case for case in reversed(cases)}.values())[::-1]


def cluster_count(cases: Sequence[Case]) -> int | None:
    """Return the number of clusters; None if every case is its own."""
    names = shared_clusters([c.cluster or f"\0{i}" for i, c in enumerate(cases)])
    return None if names is None else len(set(names))


def count_asked(suite: Suite, metric: Metric, tag: str | None = None) -> int:
    """Return how many prompts the metric scores, with a tag if one is given."""
    timed = metric.needs is CellKind.LATENCY
    cases = suite.cases[: suite.generation.latency_cases] if timed else suite.cases
    tagged = [case for case in cases if case.counts_for(tag)]
    return len(tagged if metric.corpus is not None else _drop_copies(suite, tagged))
