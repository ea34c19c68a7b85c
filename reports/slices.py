"""The paired difference by tag: where to look, never what to decide.

Means and intervals are those of the gates, on the cases of one tag. Among many slices some look bad
by chance alone, so that a slice stands out only after Benjamini and Hochberg's correction over all
slices of the run.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from harness.errors import UnknownName
from harness.manifest import MetricRecord
from harness.records import Case
from harness.verdict.compare import Delta
from harness.verdict.pairs import Pairs
from harness.verdict.scores import Table
from harness.verdict.tables import tables_of
from reports.data import ReportData
from reports.pairs import MetricFacts
from reports.subject_groups import group_of

ENOUGH = 20
"""Cases from which on a subject's difference is shown as a number."""
FALSE_SHARE = 0.10
"""Share of the slices that stand out which may do so by chance."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One metric on the cases with one tag."""

    metric: MetricFacts
    tag: str
    difference: Delta

    @property
    def n(self) -> int:
        """Complete pairs."""
        return self.difference.n

    @property
    def enough(self) -> bool:
        """Whether there are cases enough for a number."""
        return self.n >= ENOUGH

    @property
    def base(self) -> float:
        """Base's level: the mean, or the corpus value."""
        return self.difference.base

    @property
    def tuned(self) -> float:
        """Tuned's, likewise."""
        return self.difference.tuned

    @property
    def delta(self) -> float:
        """tuned − base."""
        return self.difference.estimate

    @property
    def has_interval(self) -> bool:
        """Whether the data bound the difference at all: not with few clusters, or no spread."""
        return not self.difference.pairs.too_few and math.isfinite(self.difference.low)

    @property
    def change(self) -> float:
        """The difference with + for better, as a share of the metric's span."""
        sign = 1 if self.metric.higher_is_better else -1
        return sign * self.delta / self.metric.span


Names = Callable[[Case], Iterable[str]]
"""Case → the names of the slices it is in."""


def by_tag(data: ReportData) -> tuple[Slice, ...]:
    """Return every gated metric on every tag, worst first, those with too few cases last."""
    return _sliced(data, lambda case: case.tags)


def by_group(data: ReportData) -> tuple[Slice, ...]:
    """Return the same by group of subjects; nothing where no tag is in a known group."""
    return _sliced(data, lambda case: filter(None, map(group_of, case.tags)))


def _sliced(data: ReportData, names_of: Names) -> tuple[Slice, ...]:
    run = data.run
    tables = tables_of(run.manifest, run.cases_of, run.scores, {})
    found = [s for table in tables for s in _slices(data, table, names_of)]
    return tuple(sorted(found, key=lambda s: (not s.enough, s.change if s.enough else 0, s.tag)))


def _slices(data: ReportData, table: Table, names_of: Names) -> Iterator[Slice]:
    tagged: dict[str, dict[str, Case]] = defaultdict(dict)
    for name, case in table.cases.items():
        for tag in names_of(case):
            tagged[tag][name] = case
    for metric in table.suite.metrics:
        facts = data.metrics[table.suite.name, metric.name]
        for tag, cases in tagged.items() if facts.gated else ():
            pairs = _pairs(replace(table, cases=cases), metric)
            if pairs is not None and pairs.n:
                yield Slice(facts, tag, Delta(pairs))


def _pairs(table: Table, metric: MetricRecord) -> Pairs | None:
    """Return the pairs; None where the user's own corpus function is not at hand any more."""
    try:
        return table.pairs(metric)
    except UnknownName:
        return None


def q_values(slices: Sequence[Slice]) -> tuple[float | None, ...]:
    """Return each slice's p-value of "no difference", adjusted over all that could be tested.

    Under `FALSE_SHARE` a slice stands out. None for a slice with too few cases or clusters.
    """
    p_values = [s.difference.pairs.two_sided_p() if s.enough else None for s in slices]
    tested = [p for p in p_values if p is not None]
    if not tested:
        return tuple(p_values)
    from harness.stats.multiplicity import benjamini_hochberg

    adjusted = iter(benjamini_hochberg(tested))
    return tuple(None if p is None else float(next(adjusted)) for p in p_values)
