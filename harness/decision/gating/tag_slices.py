"""Slices of a suite by tag: the paired difference on each, and the slices that lost under a SHIP.

Means and intervals are those of the gates, on the cases of one tag. Among many slices some look bad
by chance alone, so that a slice stands out only after Benjamini and Hochberg's correction over all
slices of its kind in the run.

A mean that holds can hide a group that lost: a run that ships names the slices that lost. A slice
lost if it stands out for the worse, or if its 90 % interval is wholly below zero; the latter
happens to about one unchanged slice of twenty, so that the sentence has the number of slices.
Where the mean itself is shown to have lost, within its tolerance, a slice must have lost more than
that. A slice whose loss a gate of its own limits is not looked at: that gate has decided.

Groups of subjects: forgetting often hits a whole field, of which each subject has few cases. A tag
is in a group if it is a subject of MMLU (with or without lm-eval's `mmlu_` in front), one of the
suite `general_knowledge`, or written `group/subject`. MMLU's groups are those of its authors
(Hendrycks et al. 2021, `categories.py` of github.com/hendrycks/test); the suite's subjects are put
into the same four.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tunegate.harness.comparison.delta import Delta, one_sided
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.quantity import slice_format
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.errors import UnknownName
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.manifest import MetricRecord, gate_subject
from tunegate.harness.records.slices import LostSlice, SliceLosses
from tunegate.harness.records.wording import count_noun

ENOUGH = 20
"""Cases from which on a slice's difference is shown as a number."""
FALSE_SHARE = 0.10
"""Share of the slices that stand out which may do so by chance."""
COLLAPSE = 0.5
"""Loss, as a share of the metric's range, from which a slice with fewer cases is named too."""
NAMED = 3
"""Slices that the sentence on lost ones names; the record lists them all."""


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
    """The width of the metric's range, of the values seen if it has none."""

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
        return sign * self.delta / self.span


Names = Callable[[Case], Iterable[str]]
"""Case → the names of the slices it is in."""


def slices_by_tag(tables: Iterable[ScoreTable]) -> tuple[TagSlice, ...]:
    """Return every gated metric on every tag, worst first, those with too few cases last."""
    return _make_slices(tables, lambda case: case.tags)


def slices_by_group(tables: Iterable[ScoreTable]) -> tuple[TagSlice, ...]:
    """Return the same by group of subjects; nothing where no tag is in a known group."""
    return _make_slices(tables, lambda case: filter(None, map(group_of, case.tags)))


def _make_slices(tables: Iterable[ScoreTable], names_of: Names) -> tuple[TagSlice, ...]:
    found = [s for table in tables for s in _slices(table, names_of)]
    return tuple(sorted(found, key=lambda s: (not s.enough, s.change if s.enough else 0, s.tag)))


def _slices(table: ScoreTable, names_of: Names) -> Iterator[TagSlice]:
    named: dict[str, dict[str, Case]] = defaultdict(dict)
    for name, case in table.cases.items():
        for tag in names_of(case):
            named[tag][name] = case
    gated = {gate.metric for gate in table.suite.gates}
    for metric in table.suite.metrics:
        if not named or metric.name not in gated:
            continue
        span = _span(table, metric)
        for tag, cases in named.items():
            pairs = _pairs(replace(table, cases=cases), metric)
            if pairs is not None and pairs.n:
                yield TagSlice(table.suite.name, metric, tag, Delta(pairs), span)


def _span(table: ScoreTable, metric: MetricRecord) -> float:
    if metric.bound:
        return metric.bound
    seen = [
        value
        for case in table.cases
        for arm in ("base", "tuned")
        if (value := table.value(metric.name, case, arm)) is not None
    ]
    return (max(seen) - min(seen) if seen else 0.0) or 1.0


def _pairs(table: ScoreTable, metric: MetricRecord) -> Pairs | None:
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


def slice_losses(
    tables: Sequence[ScoreTable], gates: Mapping[str, Sequence[GateResult]]
) -> SliceLosses | None:
    """Return the slices that lost while their suites' gates hold; None if none did.

    Args:
        tables: The scores of the suites.
        gates: Suite → how its gates ended.

    Source: Benjamini and Hochberg (1995) over the slices of the run.
    """
    metrics = _looked_metrics(tables, gates)
    everything = slices_by_tag(tables)
    looked = [
        (s, q, metrics[s.suite, s.metric.name])
        for s, q in zip(everything, q_values(everything), strict=True)
        if q is not None and (s.suite, s.metric.name) in metrics
    ]
    looked = [(s, q, of) for s, q, of in looked if of.has_news_on(s)]
    collapsed = _collapsed(everything, metrics)
    looked += collapsed
    found = [(s, q, q <= FALSE_SHARE) for s, q, of in looked if of.lost_on(s, q)]
    if not found:
        return None
    # Those that stand out first; slices come with the largest loss first.
    found.sort(key=lambda one: not one[2])
    lost = tuple(_lost_slice(s, q, stands_out=sure) for s, q, sure in found)
    return SliceLosses(tested=len(looked), sentence=_sentence(lost, len(looked)), lost=lost)


def _collapsed(
    slices: Sequence[TagSlice], metrics: Mapping[tuple[str, str], _WholeMetric]
) -> list[tuple[TagSlice, float, _WholeMetric]]:
    """Return the slices with too few cases for the others' test that lost half of the range.

    They are adjusted among themselves by Bonferroni: tags of a few cases may be hundreds.
    """
    few = [
        (s, p, metrics[s.suite, s.metric.name])
        for s in slices
        if not s.enough and (s.suite, s.metric.name) in metrics
        if (p := s.difference.pairs.two_sided_p()) is not None
    ]
    few = [(s, p * len(few), of) for s, p, of in few if of.has_news_on(s)]
    return [(s, q, of) for s, q, of in few if s.change <= -COLLAPSE and q <= FALSE_SHARE]


@dataclass(frozen=True, slots=True)
class _WholeMetric:
    """A metric on all cases of its suite, next to which its slices are looked at."""

    n: int
    """Complete pairs."""
    loss: float
    """Its own improvement, where its interval is wholly on the side of a loss; else 0."""
    limited: frozenset[str]
    """Tags whose loss gates of their own limit."""

    def has_news_on(self, s: TagSlice) -> bool:
        """Return whether a loss of the slice would be news.

        A tag that all cases have is no slice, and a corpus value of few cases is no evidence.
        """
        return (
            s.n < self.n and s.tag not in self.limited and not s.difference.pairs.too_few_for_corpus
        )

    def lost_on(self, s: TagSlice, q: float) -> bool:
        """Return whether the slice lost, where the mean lost too more than that shows."""
        worse = s.has_interval and s.difference.oriented.high < self.loss
        return worse or (q <= FALSE_SHARE and s.change < 0 and self.loss == 0)


def ungated_losses(table: ScoreTable) -> Iterator[str]:
    """Yield the proven losses of a bounded metric where no gate looks: on all cases, or untagged.

    A metric whose gates all have tags is looked at on the cases without any of them.
    """
    for metric in table.suite.metrics:
        tags = {gate.tag for gate in table.suite.gates if gate.metric == metric.name}
        if None in tags or not metric.bound or metric.needs is CellKind.LATENCY:
            continue
        rest = {name: case for name, case in table.cases.items() if not tags & set(case.tags)}
        pairs = _pairs(replace(table, cases=rest), metric)
        if pairs is None or pairs.too_few or pairs.too_few_for_corpus:
            continue
        found = TagSlice(table.suite.name, metric, "", Delta(pairs), metric.bound)
        if found.difference.oriented.high < 0:
            lost = _lost_slice(found, 1.0, stands_out=False)
            named = f" on cases without the tag {' or '.join(sorted(filter(None, tags)))}"
            yield f"{metric.name} has no gate{named if tags else ''}, and {_loss(lost)}"


def _looked_metrics(
    tables: Sequence[ScoreTable], gates: Mapping[str, Sequence[GateResult]]
) -> dict[tuple[str, str], _WholeMetric]:
    """Return (suite, metric) → the metric on all cases, for those whose slices are looked at.

    Only metrics on whose mean a gate counts. Times, ratios and single drops may be worse on a slice
    within what the suite allows, and a bound on an unbounded level such as a length is a budget.
    """
    found = {}
    for table in tables:
        for metric in table.suite.metrics:
            own = [
                (gate_kind(gate.kind), gate.tag)
                for gate in gates.get(table.suite.name, ())
                if gate.metric == metric.name and not gate.advisory
            ]
            on_mean = any(
                kind.tests_difference or (kind.reads_level and metric.bound is not None)
                for kind, _ in own
            )
            pairs = _pairs(table, metric)
            if metric.needs is CellKind.LATENCY or not on_mean or pairs is None or not pairs.n:
                continue
            whole = Delta(pairs)
            lost = not pairs.too_few and whole.oriented.high < 0
            found[table.suite.name, metric.name] = _WholeMetric(
                n=pairs.n,
                loss=whole.oriented.estimate if lost else 0.0,
                limited=frozenset(tag for kind, tag in own if tag and not kind.reads_level),
            )
    return found


def _lost_slice(s: TagSlice, q: float, *, stands_out: bool) -> LostSlice:
    bounded = s.has_interval
    return LostSlice(
        suite=s.suite,
        metric=s.metric.name,
        tag=s.tag,
        higher_is_better=s.metric.higher_is_better,
        rate=s.metric.is_rate,
        base=s.base,
        tuned=s.tuned,
        delta=s.delta,
        low=s.difference.low if bounded else None,
        high=s.difference.high if bounded else None,
        confidence=s.difference.confidence,
        n=s.n,
        q_value=q,
        stands_out=stands_out,
    )


def _sentence(lost: Sequence[LostSlice], tested: int) -> str:
    """Return how many slices lost, the worst of them with their numbers, and how to gate on one."""
    proven = sum(one.stands_out for one in lost)
    rest = len(lost) - proven
    by_chance = f"chance alone makes about {one_sided(CONFIDENCE) * tested:.2g} look so"
    of = f"of {count_noun(tested, 'slice')}"
    if not proven:
        head = f"{rest} {of} {'looks' if rest == 1 else 'look'} worse, where {by_chance}"
    else:
        head = f"{proven} {of} lost"
        if rest:
            head += f" and {rest} more {'looks' if rest == 1 else 'look'} worse, where {by_chance}"
    named = "; ".join(map(_words, lost[:NAMED]))
    more = f"; and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    worst = lost[0]
    return (
        f"{head}: {named}{more}. To gate on it, write metric = {json.dumps(worst.metric)}, "
        f"tag = {json.dumps(worst.tag, ensure_ascii=False)} and a tolerance in a [[gates]] table"
    )


def _words(one: LostSlice) -> str:
    return f"{one.suite}: {gate_subject(one.metric, one.tag)} {_loss(one)}"


def _loss(one: LostSlice) -> str:
    how = slice_format(one)
    interval = how.interval(one.low, one.high, one.confidence, sign=True)
    change = how.change(one.base, one.tuned, one.delta)
    return f"{change}{interval} on {count_noun(one.n, 'case')}"


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

_GROUPS = {subject: group for group, names in _SUBJECTS.items() for subject in names.split()}


def group_of(tag: str) -> str | None:
    """Return the group that a subject is in, None if it is in none that is known."""
    group, slash, _ = tag.partition("/")
    if slash:
        return group.strip() or None
    return _GROUPS.get(tag.removeprefix("mmlu_").replace(" ", "_"))
