"""Power forecast: what a suite's gates can prove, and the probability of SHIP.

A goal is planned at its expected gain, a guardrail at no true difference. The chance of SHIP is
the product over the gates, as if they were independent; related gates do better.

The spread of paired scores is assumed, or measured in an earlier run (a pilot), with the seconds
per case. The pilot may have evaluated other models and other cases under the suite's name: how far
apart two arms score is a property of the suite and the metric first.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from types import MappingProxyType
from typing import Any

from tunegate.harness.comparison.corpus_level import LEAST
from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.comparison.estimator import FEW_CLUSTERS
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.comparison.sample_size import (
    GateTest,
    PlannedComparison,
    PlannedLooks,
    ScoreSpread,
    fewest_cases,
)
from tunegate.harness.decision.answers.answer_counts import AnswerCounts, count_answers
from tunegate.harness.decision.planning import feasibility
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.gates.contract.outcome import PlannedTest
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.defaults import POWER
from tunegate.harness.records.errors import UsageError, unknown_name_message
from tunegate.harness.records.manifest import Gate, SuiteRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.suite.suite import Suite


def pilot_spread(pairs: Pairs, gate: Gate) -> tuple[ScoreSpread, ...]:
    """Return the spread that a run showed, by the scale on which the gate judges it.

    Args:
        pairs: The run's complete pairs of the gate's metric, at least two.
        gate: A gate that compares tuned with base.

    Returns:
        One spread; nothing if all differences of continuous scores are equal, which is no estimate
        of the next run.
    """
    judged = gate_kind(gate.kind).judged_pairs(gate, pairs)
    # Beyond 1 there is no difference of 0/1 scores; only an undeclared range gets here.
    beyond = abs(judged.margin) >= 1 or (gate.expected_gain or 0) > 1
    found = judged.pairs.estimator.spread(beyond_counts=beyond)
    return () if found is None else (found,)


ARMS = ("base", "tuned")


@dataclass(frozen=True)
class PilotRun:
    """Evidence of an earlier run about one suite."""

    pairs: Mapping[str, Pairs] = field(repr=False)
    """Metric → its complete pairs, at least two."""
    seconds: Mapping[str, float]
    """Arm → seconds that a case took; an arm whose answers were not timed is left out."""
    table: ScoreTable | None = field(default=None, repr=False)
    """The run's scores, for the gates on a tag; None plans them by all cases."""
    unchanged: float | None = None
    """Share of tuned's greedy answers that are base's own; None if it wrote none."""

    def of_gate(self, gate: Gate) -> Pairs:
        """Return the pairs that the gate rests on; all of its metric where its tag has too few."""
        pairs = self.pairs[gate.metric]
        if gate.tag is None or self.table is None:
            return pairs
        part = self.table.on_tag(gate.tag).pairs(pairs.metric)
        return part if part.n > 1 else pairs


def read_pilot(run: Run, suite: str, metrics: Sequence[str]) -> PilotRun:
    """Return what a run shows about the metrics of a suite.

    Raises:
        UsageError: the run lacks the suite or a metric, or has fewer than two complete pairs of it.
    """
    records = {record.name: record for record in run.manifest.suites}
    if suite not in records:
        raise UsageError(
            f"{run.folder}: {unknown_name_message(suite, tuple(records), what='suite')}"
        )
    table = _table(run, records[suite])
    pairs = {name: _pairs(run, table, name) for name in metrics}
    counts = count_answers(run.cells).get(suite, AnswerCounts())
    unchanged = None if records[suite].generation.get("temperature") else counts.same_share
    return PilotRun(pairs, _seconds(run, suite), table, unchanged)


def _table(run: Run, suite: SuiteRecord) -> ScoreTable:
    cases = {name: row.case for (where, name), row in run.cases.items() if where == suite.name}
    values = {
        (metric, case, arm): row
        for (where, metric, case, arm), row in run.score_table.items()
        if where == suite.name
    }
    return ScoreTable(suite, cases, values)


def _pairs(run: Run, table: ScoreTable, name: str) -> Pairs:
    records = {record.name: record for record in table.suite.metrics}
    place = f"{run.folder}: suite {table.suite.name!r}"
    if name not in records:
        raise UsageError(f"{place}: {unknown_name_message(name, tuple(records), what='metric')}")
    pairs = table.pairs(records[name])
    if pairs.n < 2:
        raise UsageError(
            f"{place}: metric {name!r} has {pairs.n} complete pairs, and a plan takes 2; name "
            "another run, or plan without --from"
        )
    return pairs


def _seconds(run: Run, suite: str) -> dict[str, float]:
    """Return arm → seconds a case: each batch's time is shared by its cells, whatever suite's."""
    batches: dict[tuple[str, float], list[StoredAnswer]] = defaultdict(list)
    for stored in run.cells:
        if stored.started_s is not None and _latency(stored) is not None:
            batches[stored.cell.arm, stored.started_s].append(stored)
    totals: dict[str, float] = defaultdict(float)
    for (arm, _), cells in batches.items():
        mine = sum(stored.cell.suite == suite for stored in cells)
        totals[arm] += max(_latency(stored) or 0.0 for stored in cells) * mine / len(cells)
    n = sum(where == suite for where, _ in run.cases)
    return {arm: totals[arm] / n for arm in ARMS if arm in totals}


def _latency(stored: StoredAnswer) -> float | None:
    return stored.completion.latency_s if stored.completion else None


@dataclass(frozen=True, slots=True)
class GateOutlook:
    """Power of one gate under one assumption on the spread; differences are improvements."""

    spread: ScoreSpread
    provable: float | None
    """Smallest true gain, or smallest tolerance, proven with 80 % power; None if there is none."""
    effect: float
    """The true difference that the chance is for."""
    chance: float
    """Probability of a pass."""
    cases: int | None
    """Cases for 80 % of this gate alone; None if more are no way out."""


@dataclass(frozen=True, slots=True)
class GateForecast:
    """One gate: an outlook for every assumption on the spread, or why there is none."""

    gate: Gate
    outlooks: tuple[GateOutlook, ...] = ()
    note: str = ""
    """Why nothing is planned, or what a reader must know of the plan."""
    counts: bool = True
    """Whether the chance of SHIP rests on it: not levels, nor goals that the rule leaves out."""


@dataclass(frozen=True)
class SuiteForecast:
    """One suite: its gates, and the whole rule."""

    name: str
    n: int
    """Cases."""
    n_clusters: int | None
    """Clusters of cases; None where every case stands for itself."""
    goal_rule: str
    gates: tuple[GateForecast, ...]
    chances: tuple[float, ...]
    """Probability of SHIP for each assumption, where the floors hold; empty if not planned."""
    cases: tuple[int | None, ...]
    """Cases that make 80 % of it certain, likewise; None if more are no way out."""
    refusals: tuple[str, ...]
    """Why SHIP cannot be reached at all, a sentence a gate."""
    notes: tuple[str, ...]
    """Notes on the numbers."""
    seconds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Arm → seconds a case took in the earlier run."""
    unchanged: float | None = None
    """Share of tuned's greedy answers that were base's own there; None if unknown."""
    spread_written: bool = False
    """Whether the assumptions are "nothing changed" and the spread that suite.toml gives."""


def forecast_suite(suite: Suite, observed: PilotRun | None = None) -> SuiteForecast:
    """Plan a suite.

    Args:
        suite: The suite with its cases.
        observed: What an earlier run shows of its gated metrics; None takes what suite.toml says
            of its spread, else a grid of three spreads.

    Source: Schultzberg, Ankargren and Frånberg (2024), arXiv 2402.11609: all gates that SHIP needs
    pass with 80 % however they are related where their errors add up to 20 % at most; the cases
    are the fewest for which they do, so that the error falls on the gates that are hard to prove.
    """
    n_clusters = feasibility.cluster_count(suite.cases)
    refusals = (
        *feasibility.unreachable_gates(suite),
        *feasibility.silent_goals(suite),
        *feasibility.undecidable_gates(suite, n_clusters),
    )
    gap = any(feasibility.content_gap(suite))
    # Below ten clusters nothing is decided, however few cases the spread asks for.
    least = 1 if n_clusters is None else math.ceil(FEW_CLUSTERS * len(suite.cases) / n_clusters)
    plan = _SuitePlan(suite, observed, least)
    gates = plan.gates()
    chances, cases = plan.whole_rule([g for g in gates if g.counts])
    return SuiteForecast(
        name=suite.name,
        n=len(suite.cases),
        n_clusters=n_clusters,
        goal_rule=suite.goal_rule,
        gates=gates,
        chances=tuple(0.0 for _ in chances) if refusals or gap else chances,
        cases=cases,
        refusals=refusals,
        notes=(*_notes(suite, gates, n_clusters, observed), *plan.cheaper_designs(gates)),
        seconds={} if observed is None else observed.seconds,
        unchanged=None if observed is None else observed.unchanged,
        spread_written=observed is None and bool(suite.written_spreads),
    )


class _SuitePlan:
    """The gates of one suite, planned together."""

    def __init__(self, suite: Suite, observed: PilotRun | None, least: int) -> None:
        self.suite, self.observed, self.least = suite, observed, least
        gains = [g for g in suite.gates if gate_kind(g.kind).is_goal]
        self.goals = gains[:1] if suite.goal_rule == "primary" else gains
        # Holm's first step: of m goals of which one is enough, the best is tested at alpha/m.
        self.alternatives = max(1, len(gains)) if suite.goal_rule == "any" else 1
        self.guards = {g.id: self._planned(g) for g in suite.gates if g not in gains}
        self.shares = cache(lambda n: feasibility.planned_shares(suite, n))
        self.tests: dict[tuple[Any, ...], GateTest] = {}
        """Parameters of a test on 0/1 scores → the test: it is enumerated once."""
        self.plans: dict[str, list[PlannedComparison]] = defaultdict(list)
        """Gate → its comparison for each assumption on the spread."""

    def gates(self) -> tuple[GateForecast, ...]:
        """Return the forecasts in the order of the suite."""
        gains = {g.id: self._gain(g) for g in self.suite.gates if gate_kind(g.kind).is_goal}
        reached = {(g.metric, g.tag): gains[g.id].outlooks for g in self.goals}
        found = (gains.get(gate.id) or self._guard(gate, reached) for gate in self.suite.gates)
        return tuple(
            replace(g, counts=g.counts and not feasibility.is_advisory(self.suite, g.gate))
            for g in found
        )

    def _gain(self, gate: Gate) -> GateForecast:
        assert not isinstance(gate.margin, str)
        counts = gate in self.goals
        spreads, why = self._spreads(gate)
        outlooks = []
        confidence = 1 - (1 - gate.confidence) / self.alternatives
        for spread in spreads:
            plan = self._comparison(gate, gate.margin, confidence, spread)
            provable = plan.detectable()
            largest = plan.limit if plan.limit is not None else 1.0
            effect = gate.expected_gain or (largest if provable is None else provable)
            cases = self._cases(gate, plan, effect)
            outlooks.append(GateOutlook(spread, provable, effect, plan.chance(effect), cases))
        notes = [why]
        if outlooks and gate.expected_gain is None:
            notes.append("no expected_gain is written: planned at the smallest provable gain")
        if not counts:
            notes.append("not needed: goal_rule = primary asks for the first gain")
        return GateForecast(gate, tuple(outlooks), "; ".join(filter(None, notes)), counts)

    def _planned(self, gate: Gate) -> PlannedTest:
        metric = self.suite.metric(gate.metric)
        pairs = None if self.observed is None else self.observed.of_gate(gate)
        return gate_kind(gate.kind).plan_test(gate, metric, pairs)

    def _guard(
        self, gate: Gate, reached: Mapping[tuple[str, str | None], Sequence[GateOutlook]]
    ) -> GateForecast:
        test = self.guards[gate.id]
        if test.margin is None:
            return GateForecast(gate, (), test.note, counts=test.counts)
        spreads, why = self._spreads(gate)
        # A goal on the same metric is planned to be reached: its gain is the true difference, and
        # proves a tolerance even where base has nothing to lose.
        on_gain = gate_kind(gate.kind).tests_difference
        gained = reached.get((gate.metric, gate.tag)) if on_gain else None
        refused = any(feasibility.feasibility_problems(self.suite, gate))
        refused = refused or (test.refused and not gained)
        outlooks = []
        for index, spread in enumerate(spreads):
            effect = gained[index].effect if gained else 0.0
            plan = self._comparison(
                gate, test.margin, gate.confidence, spread, bounded=test.bounded
            )
            chance = 0.0 if refused else plan.chance(effect)
            cases = self._cases(gate, plan, effect)
            outlooks.append(GateOutlook(spread, plan.tolerable(), effect, chance, cases))
        note = "; ".join(filter(None, [test.note, why]))
        return GateForecast(gate, tuple(outlooks), note, test.counts)

    def _comparison(
        self,
        gate: Gate,
        margin: float,
        confidence: float,
        spread: ScoreSpread,
        *,
        bounded: bool = True,
    ) -> PlannedComparison:
        metric = self.suite.metric(gate.metric)
        hoped = gate_kind(gate.kind).target_effect(gate, math.nan)
        plan = PlannedComparison(
            feasibility.count_asked(self.suite, metric, gate.tag),
            margin,
            confidence,
            spread,
            1.0 if spread.binary else metric.bound if bounded else None,
            *self._test(gate, margin, spread),
            PlannedLooks(
                partial(self._shares, gate),
                None if hoped is None or math.isnan(hoped) else hoped,
                given_up=hoped is not None,
            ),
        )
        self.plans[gate.id].append(plan)
        return plan

    def _test(
        self, gate: Gate, margin: float, spread: ScoreSpread
    ) -> tuple[GateTest | None, float | None]:
        """Return the gate's own test, and its margin on the scale on which it judges.

        None for one value over all cases: no sample of scores shows what it would be.
        """
        metric, kind = self.suite.metric(gate.metric), gate_kind(gate.kind)
        if metric.corpus is not None or (self.suite.generation.samples > 1 and spread.binary):
            return None, None
        [record] = [m for m in self.suite.record().metrics if m.name == gate.metric]
        seen = None if self.observed is None else self.observed.of_gate(gate)
        judged = None if seen is None else kind.judged_pairs(gate, seen)

        def on_scores(base: Sequence[float], tuned: Sequence[float], confidence: float) -> bool:
            pairs = Pairs("", record, tuple(base), tuple(tuned))
            made = kind.judged_pairs(gate, pairs)
            return is_proven(made.pairs, made.margin, confidence)

        higher = record.higher_is_better
        if spread.binary or judged is None:
            level = seen.base_level if seen is not None else 0.5
            key = gate.kind, gate.margin, str(gate.options), higher, record.range, level
            test = GateTest(on_scores, higher_is_better=higher, base_level=level)
            return self.tests.setdefault((*key, spread.binary), test), None

        def on_scale(base: Sequence[float], tuned: Sequence[float], confidence: float) -> bool:
            made = replace(
                judged.pairs, base=tuple(base), tuned=tuple(tuned), clusters=None, cases=()
            )
            return is_proven(made, judged.margin, confidence)

        test = GateTest(
            on_scale,
            higher_is_better=judged.pairs.metric.higher_is_better,
            shape=judged.pairs.differences,
        )
        return test, judged.margin

    def _share(self, gate: Gate) -> float:
        """Return the share of the suite's cases that the gate rests on."""
        if gate.tag is None:
            return 1.0
        return max(1, len(feasibility.cases_on(self.suite, gate.tag))) / len(self.suite.cases)

    def _shares(self, gate: Gate, n: int) -> tuple[float, ...]:
        """Return the share of the gate's `n` cases seen at each look.

        A slice is first looked at once it has as many cases as the suite's first look.
        """
        share = self._share(gate)
        suite = self.shares(round(n / share))
        return tuple(t for t in suite if t == 1 or t * share >= suite[0])

    def _cases(self, gate: Gate, plan: PlannedComparison, effect: float) -> int | None:
        return self._at_least(gate, plan.cases(effect, POWER))

    def _at_least(self, gate: Gate, cases: int | None) -> int | None:
        least = LEAST if self.suite.metric(gate.metric).corpus else 1
        return None if cases is None else max(cases, self.least, least)

    def whole_rule(
        self, gates: Sequence[GateForecast]
    ) -> tuple[tuple[float, ...], tuple[int | None, ...]]:
        """Return the chance of SHIP and the cases for 80 % of it, for each assumption.

        Args:
            gates: The gates that count.
        """
        if not gates or not all(g.outlooks for g in gates):
            return (), ()
        any_goal = self.suite.goal_rule == "any"
        goals = [g for g in gates if gate_kind(g.gate.kind).is_goal and any_goal]
        others = [g for g in gates if g not in goals]
        chances, cases = [], []
        for index in range(len(gates[0].outlooks)):
            needed = list(others)
            if goals:
                # Of several goals the likeliest counts alone: right however they are related.
                needed.append(max(goals, key=lambda g: g.outlooks[index].chance))
            chances.append(math.prod(g.outlooks[index].chance for g in needed))
            cases.append(self._cases_of(needed, index))
        return tuple(chances), tuple(cases)

    def _cases_of(self, gates: Sequence[GateForecast], index: int) -> int | None:
        """Return the fewest cases for which the gates' errors add up to 20 % at most."""
        alone = [(gate.outlooks[index].cases, self._share(gate.gate)) for gate in gates]
        if any(n is None for n, _ in alone):
            return None
        start = max(math.ceil(n / share) for n, share in alone if n is not None)
        if len(gates) == 1:
            return start
        plans = [
            (self.plans[g.gate.id][index], g.outlooks[index].effect, self._share(g.gate))
            for g in gates
        ]

        def error(n: int) -> float:
            return sum(
                1 - plan.power(max(2, round(n * share)), effect) for plan, effect, share in plans
            )

        found = fewest_cases(error, 1 - POWER, start)
        return None if found is None else max(found, start)

    def cheaper_designs(self, gates: Sequence[GateForecast]) -> Iterator[str]:
        """Yield what would take fewer cases, of the gate that takes the most of those that count.

        At the middle one of the assumptions; nothing where the suite has the cases already.
        """
        counted = [g for g in gates if g.counts and g.outlooks]
        middle = [(g, g.outlooks[len(g.outlooks) // 2]) for g in counted]
        short = [(o.cases, g, o) for g, o in middle if o.cases and o.chance < POWER]
        if short:
            _, found, outlook = max(short, key=lambda row: row[0])
            plan = self.plans[found.gate.id][len(found.outlooks) // 2]
            table = None if self.observed is None else self.observed.table
            yield from feasibility.cheaper_designs(
                self.suite, found.gate, plan, outlook.effect, table
            )

    def _spreads(self, gate: Gate) -> tuple[tuple[ScoreSpread, ...], str]:
        """Return the assumptions on the spread, or why there is none."""
        metric = self.suite.metric(gate.metric)
        if feasibility.count_asked(self.suite, metric, gate.tag) < 2:
            return (), "not planned: it takes 2 cases"
        if self.observed is not None:
            found = pilot_spread(self.observed.of_gate(gate), gate)
            return (
                found,
                "" if found else "σ unknown: all differences of the run are equal; name another",
            )
        # The samples of a case are averaged: their mean is no longer 0 or 1.
        averaged = metric.needs is CellKind.GENERATE and self.suite.generation.samples > 1
        binary = metric.binary and not averaged
        if written := self.suite.written_spreads:
            if metric.name not in written:
                return (), f"spread unknown: add {metric.name} to [plan] spread"
            # Unchanged answers first; a mean without any spread has no t test.
            least = 0.0 if binary else written[metric.name] / 100
            return tuple(ScoreSpread(v, binary=binary) for v in (least, written[metric.name])), ""
        found = feasibility.assumed_spreads(metric, binary=binary)
        return found, "" if found else "σ unknown: plan from a first run with --from RUN"


def _notes(
    suite: Suite,
    gates: Sequence[GateForecast],
    n_clusters: int | None,
    observed: PilotRun | None,
) -> Iterator[str]:
    planned = [g for g in gates if g.outlooks]
    if n_clusters is not None and observed is None and planned:
        yield (
            f"cases of the {n_clusters} clusters are planned as unrelated ones; --from RUN "
            "measures what that hides"
        )
    if any(suite.metric(g.gate.metric).needs is CellKind.LATENCY for g in planned):
        yield f"latency is timed on {suite.generation.latency_cases} cases: raise latency_cases too"
    yield from feasibility.advisory_notes(suite)
    yield from feasibility.judged_once_notes(suite)
    if planned and feasibility.planned_shares(suite, len(suite.cases)):
        yield "chances are those of a run that may end early; --early-stop off adds a point or two"
    if suite.goal_rule == "any" and sum(gate_kind(g.gate.kind).is_goal for g in gates) > 1:
        yield "goal_rule = any: each gain is planned at alpha/m (Holm), the likeliest one counted"
