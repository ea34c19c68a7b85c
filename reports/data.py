"""Report data: everything that sections read, computed once from a run.

A case with what both arms did on it: scores side by side, and how it changed. Changes are oriented:
positive is better, whatever direction the metric has. Only gated metrics decide whether a case got
better or worse: they are what the suite's author cares about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, wraps
from hashlib import sha256
from typing import TypeVar
from weakref import WeakKeyDictionary

from tunegate.harness.decision.gating.tag_slices import TagSlice, slices_by_tag
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.contamination import ContaminationMatch
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.jsonl import IndexedRecords
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.wording import count_noun
from tunegate.reports.identity import ArmIdentity, arm_identities

T = TypeVar("T")

BASE, TUNED = "base", "tuned"
"""The two arms that a report compares; further ones appear under provenance."""


class CaseChange(StrEnum):
    """How a case changed from base to tuned, the worst first."""

    BROKE = "newly failing"
    """A pass/fail metric passed with base and fails with tuned."""
    WORSE = "lower"
    """Some metric is worse; its kind is not pass/fail."""
    FIXED = "newly passing"
    BETTER = "higher"
    CHANGED = "changed"
    """Equal scores, another completion."""
    EQUAL = "equal"


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """A suite's scores and gates on one metric."""

    suite: str
    name: str
    higher_is_better: bool
    gated: bool
    timed: bool
    """Whether it measures time, which on one case is mostly noise."""
    bounded: bool
    """Whether its gates bound a ratio alone: a case that is shorter by a word is no better."""
    binary: bool
    """Whether a case passes or fails it: pass/fail by design, and every value 0 or 1."""
    rate: bool
    """Whether its scores are written in per cent."""
    picks: bool
    """Whether it calls the answer to a multiple-choice question right or wrong."""
    span: float
    """The width of its range, of the values seen if it has none: drops are ranked on this scale."""

    @property
    def ranks(self) -> bool:
        """Whether this metric decides if a case got better or worse."""
        return self.gated and not self.timed and not self.bounded


@dataclass(frozen=True, slots=True)
class PairScore:
    """One metric of one case on both arms."""

    metric: MetricFacts
    base: ScoreRow | None
    tuned: ScoreRow | None
    delta: float | None = field(init=False)
    """tuned − base; None unless both are scored."""
    change: float | None = field(init=False)
    """The difference with + for better, as a share of the metric's span. Kept, as each part of the
    page asks for it several times."""

    def __post_init__(self) -> None:
        """Find the differences."""
        base, tuned = (None if row is None else row.value for row in (self.base, self.tuned))
        delta = None if base is None or tuned is None else tuned - base
        object.__setattr__(self, "delta", delta)
        object.__setattr__(self, "change", None if delta is None else self._change(delta))

    def _change(self, delta: float) -> float:
        change = delta if self.metric.higher_is_better else -delta
        return 0.0 if abs(change) < EPSILON else change / self.metric.span

    @property
    def flips(self) -> bool:
        """Whether a pass/fail metric changed sides."""
        return self.metric.binary and bool(self.change)


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case as its run left it: both arms' scores and cells, and how it changed."""

    suite: str
    name: str
    """The case's id."""
    cases: Mapping[tuple[str, str], RunCase] = field(repr=False)
    """(suite, case id) → case: all those of the run, each read when it is shown."""
    scores: tuple[PairScore, ...]
    cells: Mapping[tuple[str, CellKind], StoredAnswer] = field(repr=False)
    """(arm, kind) → the first sample's cell."""
    touched: ContaminationMatch | None = None
    """Overlap with training rows; None where tuned was not trained on it."""
    left_out: bool = False
    """Whether the gates leave it out for that."""
    outcome: CaseChange = field(init=False)
    """How the case changed; a loss outweighs a gain. Kept, for it takes both answers to know it."""

    def __post_init__(self) -> None:
        """Find the outcome while the case's cells are in memory."""
        object.__setattr__(self, "outcome", self._change())

    @property
    def stored(self) -> RunCase:
        """The case with its place and its rendered prompt."""
        return self.cases[self.suite, self.name]

    @property
    def case(self) -> Case:
        """The case."""
        return self.stored.case

    @property
    def anchor(self) -> str:
        """Name of the case within the page: stable, and safe as an HTML id."""
        key = f"{self.suite}\0{self.name}".encode("utf-8", "surrogatepass")
        return "c-" + sha256(key).hexdigest()[:12]

    @property
    def ranked(self) -> tuple[PairScore, ...]:
        """The scores that decide whether the case changed, worst first, flips before the rest."""
        changed = [s for s in self.scores if s.metric.ranks and s.change]
        return tuple(sorted(changed, key=lambda s: (s.change or 0) - (2 if s.flips else 0)))

    def _change(self) -> CaseChange:
        losses = [s for s in self.ranked if (s.change or 0) < 0]
        gains = [s for s in self.ranked if (s.change or 0) > 0]
        if losses:
            return CaseChange.BROKE if any(s.flips for s in losses) else CaseChange.WORSE
        if gains:
            return CaseChange.FIXED if any(s.flips for s in gains) else CaseChange.BETTER
        base, tuned = self.text("base"), self.text("tuned")
        differs = base is not None and tuned is not None and base != tuned
        return CaseChange.CHANGED if differs else CaseChange.EQUAL

    @property
    def deciding(self) -> PairScore | None:
        """The score that put the case on its list: the worst loss, else the best gain."""
        losses = [s for s in self.ranked if (s.change or 0) < 0]
        if losses:
            return losses[0]
        gains = [s for s in self.ranked if (s.change or 0) > 0]
        return max(gains, key=lambda s: (s.flips, s.change or 0), default=None)

    def completion(self, arm: str, kind: CellKind) -> Completion | None:
        """Return what `arm` answered when asked for `kind`."""
        place = arm, kind
        return self.cells[place].completion if place in self.cells else None

    def answer(self, arm: str) -> Completion | None:
        """Return the completion with the text that `arm` wrote, or that is recorded of it."""
        written = self.completion(arm, CellKind.GENERATE)
        return self.completion(arm, CellKind.RECORDED) if written is None else written

    def text(self, arm: str) -> str | None:
        """Return the text that `arm` wrote, None where it wrote none."""
        completion = self.answer(arm)
        return completion.text if completion else None


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
        against = gate_kind(self.gate.kind).against_words(self.gate)
        return f"{count_noun(len(self.cases), 'case')} {against}"


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
    """Every case, in plan order."""
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
        found: dict[tuple[str, str], list[tuple[CaseView, PairScore]]] = defaultdict(list)
        for view in self.cases:
            for score in view.scores:
                found[view.suite, score.metric.name].append((view, score))
        return found

    @cached_property
    def gate_cases(self) -> tuple[GateCases, ...]:
        """The gates in the order of the verdict, each with the cases that speak against it."""
        return tuple(
            GateCases(suite.name, gate, frozenset(_cases_against(gate, scores)))
            for suite in self.run.verdict.suites
            for gate in suite.gates
            for scores in [self.pair_scores.get((suite.name, gate.metric), ())]
        )

    def with_outcome(self, outcome: CaseChange) -> int:
        """Return how many cases changed in this way."""
        return self.outcomes.get(outcome, 0)


def once_per_report(function: Callable[[ReportData], T]) -> Callable[[ReportData], T]:
    """Return the function with its results kept, each as long as the data that it is about."""
    known: WeakKeyDictionary[ReportData, T] = WeakKeyDictionary()

    @wraps(function)
    def kept(data: ReportData) -> T:
        if data not in known:
            known[data] = function(data)
        return known[data]

    return kept


def prepare_data(run: Run) -> ReportData:
    """Return everything that the sections of `run`'s report share."""
    metrics = {(m.suite, m.name): m for m in _metrics(run)}
    views = tuple(_views(run, metrics))
    lists: dict[CaseChange, list[CaseView]] = defaultdict(list)
    for view in views:
        lists[view.outcome].append(view)
    return ReportData(
        run=run,
        arms=arm_identities(run),
        metrics=metrics,
        cases=views,
        regressions=_sort_views(lists[CaseChange.BROKE]) + _sort_views(lists[CaseChange.WORSE]),
        improvements=_sort_views(lists[CaseChange.FIXED]) + _sort_views(lists[CaseChange.BETTER]),
        changed=tuple(lists[CaseChange.CHANGED]),
        outcomes={outcome: len(found) for outcome, found in lists.items()},
    )


def _cases_against(gate: GateResult, scores: Iterable[tuple[CaseView, PairScore]]) -> Iterable[str]:
    """Yield the ids of the cases whose scores speak against a gate."""
    speaks_against = gate_kind(gate.kind).speaks_against
    for view, score in scores:
        if view.left_out or score.tuned is None or score.tuned.value is None:
            continue
        if gate.tag is not None and gate.tag not in view.case.tags:
            continue
        base = None if score.base is None else score.base.value
        if speaks_against(gate, base, score.tuned.value):
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


def _is_bound(gate: GateResult) -> bool:
    """Return whether a gate bounds what it measures, and asks for no better scores of cases."""
    kind = gate_kind(gate.kind)
    return not (kind.tests_difference or kind.reads_level or kind.counts_cases)


def _facts(
    suite: str, metric: MetricRecord, seen: set[float], gates: Sequence[GateResult]
) -> MetricFacts:
    own = [gate for gate in gates if gate.metric == metric.name]
    return MetricFacts(
        suite=suite,
        name=metric.name,
        higher_is_better=metric.higher_is_better,
        gated=bool(own),
        timed=metric.needs is CellKind.LATENCY,
        bounded=bool(own) and all(_is_bound(gate) for gate in own),
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
    known = run.manifest.leakage
    touched, left_out = (known.touched, known.left_out) if known else ({}, {})
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


EPSILON = 1e-6
"""Differences below this are rounding."""
