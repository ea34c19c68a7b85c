"""Slices of a suite by tag: the paired difference on each.

Means and intervals are those of the gates, on the cases of one tag. Among many slices some look bad
by chance alone, so a slice stands out only after Benjamini and Hochberg's correction over all
slices of its kind in the run.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tunegate.harness.comparison.delta import Delta
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.further_arm import ARMS
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.records.cases import PLAIN, Case
from tunegate.harness.records.errors import UnknownName
from tunegate.harness.records.manifest import MetricRecord

ENOUGH = 20
"""Fewest cases for which a slice's difference is shown as a number."""
FALSE_SHARE = 0.10
"""Largest share of the slices that stand out which do so by chance."""


@dataclass(frozen=True, slots=True)
class TagSlice:
    """One metric on the cases with one tag."""

    suite: str
    """Name of the suite."""
    metric: MetricRecord
    tag: str
    """The tag, or the group of tags."""
    difference: Delta
    span: float
    """Width of the metric's range, or of the observed values if it has none."""

    @property
    def n(self) -> int:
        """Complete pairs."""
        return self.difference.n

    @property
    def enough(self) -> bool:
        """Whether there are enough cases to show a number."""
        return self.n >= ENOUGH

    @property
    def base(self) -> float:
        """Base's level: the mean, or the corpus value."""
        return self.difference.base

    @property
    def tuned(self) -> float:
        """Tuned's level: the mean, or the corpus value."""
        return self.difference.tuned

    @property
    def delta(self) -> float:
        """tuned − base."""
        return self.difference.estimate

    @property
    def has_interval(self) -> bool:
        """Whether the interval is finite: not with few clusters, or without spread."""
        return not self.difference.pairs.too_few and math.isfinite(self.difference.low)

    @property
    def change(self) -> float:
        """The difference with + for better, as a share of the metric's span."""
        sign = 1 if self.metric.higher_is_better else -1
        return sign * self.delta / self.span


Names = Callable[[Case], Iterable[str]]
"""Case → the names of the slices it is in."""


def slices_by_tag(tables: Iterable[ScoreTable]) -> tuple[TagSlice, ...]:
    """Return every gated metric on every tag, worst first, those with too few cases last."""
    return _make_slices(tables, lambda case: case.tags)


def slices_by_group(tables: Iterable[ScoreTable]) -> tuple[TagSlice, ...]:
    """Return the same by group of subjects; empty if no tag is in a known group."""
    return _make_slices(tables, lambda case: filter(None, map(group_of, case.tags)))


def _make_slices(tables: Iterable[ScoreTable], names_of: Names) -> tuple[TagSlice, ...]:
    slices = [s for table in tables for s in _slices(table, names_of)]
    return tuple(sorted(slices, key=lambda s: (not s.enough, s.change if s.enough else 0, s.tag)))


def _slices(table: ScoreTable, names_of: Names) -> Iterator[TagSlice]:
    named: dict[str, dict[str, Case]] = defaultdict(dict)
    for name, case in table.cases.items():
        for tag in names_of(case):
            if table.variants and tag == PLAIN:
                continue  # that of all cases
            named[tag][name] = case
    gated = {gate.metric for gate in table.suite.gates}
    for metric in table.suite.metrics:
        if not named or metric.name not in gated:
            continue
        span = _span(table, metric)
        for tag, cases in named.items():
            pairs = pairs_of(replace(table, cases=cases), metric)
            if pairs is not None and pairs.n:
                yield TagSlice(table.suite.name, metric, tag, Delta(pairs), span)


def _span(table: ScoreTable, metric: MetricRecord) -> float:
    if metric.bound:
        return metric.bound
    seen = [
        value
        for case in table.cases
        for arm in ARMS
        if (value := table.value(metric.name, case, arm)) is not None
    ]
    return (max(seen) - min(seen) if seen else 0.0) or 1.0


def pairs_of(table: ScoreTable, metric: MetricRecord) -> Pairs | None:
    """Return the pairs; None where the user's own corpus function is not available any more."""
    try:
        return table.pairs(metric)
    except UnknownName:
        return None


def q_values(slices: Sequence[TagSlice]) -> tuple[float | None, ...]:
    """Return each slice's p-value of "no difference", adjusted over all that could be tested.

    Under `FALSE_SHARE` a slice stands out. None for a slice with too few cases or clusters.
    """
    p_values = [s.difference.pairs.two_sided_p() if s.enough else None for s in slices]
    tested = [p for p in p_values if p is not None]
    if not tested:
        return tuple(p_values)
    from tunegate.harness.stats.multiplicity import benjamini_hochberg

    adjusted = iter(benjamini_hochberg(tested))
    return tuple(None if p is None else float(next(adjusted)) for p in p_values)


# Forgetting often hits a whole field, in which each subject has few cases.
_SUBJECTS = {
    "STEM": (
        "abstract_algebra astronomy college_biology college_chemistry college_computer_science "
        "college_mathematics college_physics computer_security conceptual_physics "
        "electrical_engineering elementary_mathematics high_school_biology high_school_chemistry "
        "high_school_computer_science high_school_mathematics high_school_physics "
        "high_school_statistics machine_learning "
        "biology chemistry computing everyday_physics weather_and_climate"
    ),
    "humanities": (
        "formal_logic high_school_european_history high_school_us_history "
        "high_school_world_history international_law jurisprudence logical_fallacies "
        "moral_disputes moral_scenarios philosophy prehistory professional_law world_religions "
        "art_and_music law_and_government literature world_history"
    ),
    "social sciences": (
        "econometrics high_school_geography high_school_government_and_politics "
        "high_school_macroeconomics high_school_microeconomics high_school_psychology "
        "human_sexuality professional_psychology public_relations security_studies sociology "
        "us_foreign_policy "
        "economics_and_money geography"
    ),
    "other": (
        "anatomy business_ethics clinical_knowledge college_medicine global_facts human_aging "
        "management marketing medical_genetics miscellaneous nutrition professional_accounting "
        "professional_medicine virology "
        "food_and_household human_body"
    ),
}
"""Subjects of MMLU by group (Hendrycks et al. 2021, `categories.py` of github.com/hendrycks/test)
and of the bundled suite `general_knowledge`."""
_GROUPS = {subject: group for group, names in _SUBJECTS.items() for subject in names.split()}


def group_of(tag: str) -> str | None:
    """Return the group of a subject, or what is before the slash in `group/subject`; else None."""
    group, slash, _ = tag.partition("/")
    if slash:
        return group.strip() or None
    return _GROUPS.get(tag.removeprefix("mmlu_").replace(" ", "_"))
