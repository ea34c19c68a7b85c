"""Report data: everything that sections read, computed once from a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from tunegate.harness.decision.gating.tag_slices import TagSlice, slices_by_tag
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.gates.contract.sentences import cases_against
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.jsonl import IndexedRecords
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.wording import count_noun
from tunegate.reports.case_view import BASE, TUNED, CaseChange, CaseView, MetricFacts, PairScore
from tunegate.reports.identity import ArmIdentity, arm_identities
from tunegate.reports.masked_values import mask_run

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GateCases:
    """A gate with the cases that speak against it."""

    suite: str
    gate: GateResult
    cases: frozenset[str]
    """Ids of the cases below a floor, or that lost; without those that no gate counts."""

    @property
    def words(self) -> str:
        """Their number and what they have in common: `24 cases below the floor`."""
        return f"{count_noun(len(self.cases), 'case')} {cases_against(self.gate)}"


@dataclass(frozen=True, eq=False)
class ReportData:
    """A run as its report sees it; each section gets this and nothing else.

    It is compared by identity, so that a section can keep what several renderings show.
    """

    run: Run = field(repr=False)
    arms: Mapping[str, ArmIdentity]
    """Name → identity, base and tuned first."""
    metrics: Mapping[tuple[str, str], MetricFacts]
    """(suite, metric) → what is known of it; gated metrics first, in the gates' order."""
    cases: tuple[CaseView, ...] = field(repr=False)
    """Every case, in plan order, without those that are cases in other words."""
    variants: tuple[CaseView, ...] = field(repr=False)
    """The cases in other words, in plan order."""
    regressions: tuple[CaseView, ...] = field(repr=False)
    """Newly failing first, then the largest drop."""
    improvements: tuple[CaseView, ...] = field(repr=False)
    """Newly passing first, then the largest gain."""
    changed: tuple[CaseView, ...] = field(repr=False)
    """Equal scores, other completions, in plan order."""

    outcomes: Mapping[CaseChange, int]
    """Outcome → how many cases changed in this way."""

    @cached_property
    def score_tables(self) -> list[ScoreTable]:
        """The scores of each suite, without cases that tuned was trained on and no gate counts."""
        return tables_of(self.run.manifest, self.run.cases_of, self.run.scores, {})

    @cached_property
    def tag_slices(self) -> tuple[TagSlice, ...]:
        """Every gated metric on every tag, worst first, those with too few cases last."""
        return slices_by_tag(self.score_tables)

    @cached_property
    def pair_scores(self) -> Mapping[tuple[str, str], Sequence[tuple[CaseView, PairScore]]]:
        """(suite, metric) → its scores with their cases, in plan order."""
        pairs: dict[tuple[str, str], list[tuple[CaseView, PairScore]]] = defaultdict(list)
        for view in (*self.cases, *self.variants):
            for score in view.scores:
                pairs[view.suite, score.metric.name].append((view, score))
        return pairs

    @cached_property
    def gate_cases(self) -> tuple[GateCases, ...]:
        """The gates in the order of the verdict, each with the cases that speak against it."""
        return tuple(
            GateCases(suite.name, gate, frozenset(_cases_against(gate, scores)))
            for suite in self.run.verdict.suites
            for gate in suite.gates
            for scores in [self.gate_scores(suite.name, gate)]
        )

    def gate_scores(self, suite: str, gate: GateResult) -> Sequence[tuple[CaseView, PairScore]]:
        """Return the scores of a gate's metric: tuned's, and those that it is compared with."""
        scores = self.pair_scores.get((suite, gate.metric), ())
        if gate.against is None:
            return scores
        rows, arm = self.run.score_table, gate.against
        return [
            (view, replace(score, base=rows.get((suite, gate.metric, view.name, arm))))
            for view, score in scores
        ]

    @property
    def gate_links(self) -> Mapping[tuple[str, str], tuple[int, str]]:
        """Suite and gate → its place in the page's data, and its cases in words, if it has any."""
        return {
            (gate_cases.suite, gate_cases.gate.id): (place, gate_cases.words)
            for place, gate_cases in enumerate(self.gate_cases)
            if gate_cases.cases
        }

    def with_outcome(self, outcome: CaseChange) -> int:
        """Return how many cases changed in this way."""
        return self.outcomes.get(outcome, 0)


def once_per_report(function: Callable[[ReportData], T]) -> Callable[[ReportData], T]:
    """Return the function with its results kept, each as long as the data that it is about."""
    results: WeakKeyDictionary[ReportData, T] = WeakKeyDictionary()

    @wraps(function)
    def kept(data: ReportData) -> T:
        if data not in results:
            results[data] = function(data)
        return results[data]

    return kept


def prepare_data(run: Run) -> ReportData:
    """Return everything that the sections of `run`'s report share."""
    run = mask_run(run)
    metrics = {(m.suite, m.name): m for m in _metrics(run)}
    everything = tuple(_views(run, metrics))
    views = tuple(view for view in everything if view.case.variant_of is None)
    lists: dict[CaseChange, list[CaseView]] = defaultdict(list)
    for view in views:
        lists[view.outcome].append(view)
    return ReportData(
        run=run,
        arms=arm_identities(run),
        metrics=metrics,
        cases=views,
        variants=tuple(view for view in everything if view.case.variant_of is not None),
        regressions=_sort_views(lists[CaseChange.BROKE]) + _sort_views(lists[CaseChange.WORSE]),
        improvements=_sort_views(lists[CaseChange.FIXED]) + _sort_views(lists[CaseChange.BETTER]),
        changed=tuple(lists[CaseChange.CHANGED]),
        outcomes={outcome: len(found) for outcome, found in lists.items()},
    )


def _cases_against(gate: GateResult, scores: Iterable[tuple[CaseView, PairScore]]) -> Iterable[str]:
    """Yield the ids of the cases whose scores speak against a gate."""
    kind = gate_kind(gate.kind)
    for view, score in scores:
        if view.left_out or score.tuned is None or score.tuned.value is None:
            continue
        if not view.case.counts_for(gate.tag):
            continue
        base = None if score.base is None else score.base.value
        if kind.contradiction(gate, base, score.tuned.value) > 0:
            yield view.name


def _sort_views(views: Iterable[CaseView]) -> tuple[CaseView, ...]:
    """Sort by the size of the deciding change, largest first; ties keep the plan's order."""

    def size(view: CaseView) -> float:
        return abs(view.deciding.change or 0) if view.deciding else 0.0

    return tuple(sorted(views, key=size, reverse=True))


def _metrics(run: Run) -> Iterable[MetricFacts]:
    """Yield the metrics of every suite, the gated ones first."""
    values: dict[tuple[str, str], set[float]] = defaultdict(set)
    for row in run.scores:
        if row.arm in (BASE, TUNED) and row.value is not None:
            values[row.suite, row.metric].add(row.value)
    gates = {suite.name: suite.gates for suite in run.verdict.suites}
    for suite in run.manifest.suites:
        facts = [
            _facts(suite.name, metric, values[suite.name, metric.name], gates.get(suite.name, ()))
            for metric in suite.metrics
        ]
        yield from sorted(facts, key=lambda metric: not metric.gated)


def _facts(
    suite: str, metric: MetricRecord, seen: set[float], gates: Sequence[GateResult]
) -> MetricFacts:
    metric_gates = [gate for gate in gates if gate.metric == metric.name]
    return MetricFacts(
        suite=suite,
        name=metric.name,
        higher_is_better=metric.higher_is_better,
        gated=bool(metric_gates),
        timed=metric.needs is CellKind.LATENCY,
        bounded=bool(metric_gates)
        and not any(gate_kind(gate.kind).ranks_cases for gate in metric_gates),
        binary=metric.binary and seen <= {0.0, 1.0},
        rate=metric.is_rate,
        picks=metric.picks,
        span=metric.bound or (max(seen) - min(seen) if seen else 0) or 1.0,
    )


def _views(run: Run, metrics: Mapping[tuple[str, str], MetricFacts]) -> Iterable[CaseView]:
    places: dict[tuple[str, str], dict[tuple[str, CellKind], int]] = defaultdict(dict)
    decided = set()
    for place, stored in enumerate(run.cells):
        key = stored.cell.suite, stored.cell.case
        if stored.status == "skipped":
            decided.add(key)
        elif stored.cell.sample == 0:
            places[key][stored.cell.arm, stored.cell.kind] = place
    leakage = run.manifest.leakage
    touched, left_out = (leakage.touched, leakage.left_out) if leakage else ({}, {})
    of_suite: dict[str, list[MetricFacts]] = defaultdict(list)
    for facts in metrics.values():
        of_suite[facts.suite].append(facts)
    for suite, case in run.cases:
        if (suite, case) in decided:
            continue
        scores = (_score(run, facts, case) for facts in of_suite[suite])
        yield CaseView(
            suite=suite,
            name=case,
            cases=run.cases,
            scores=tuple(s for s in scores if s.base or s.tuned),
            cells=IndexedRecords(run.cells, places[suite, case]),
            touched=touched.get((suite, case)),
            left_out=case in left_out.get(suite, ()),
        )


def _score(run: Run, facts: MetricFacts, case: str) -> PairScore:
    def of(arm: str) -> ScoreRow | None:
        return run.score_table.get((facts.suite, facts.name, case, arm))

    return PairScore(metric=facts, base=of(BASE), tuned=of(TUNED))
