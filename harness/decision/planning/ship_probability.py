"""The probability of SHIP, and the cases it takes.

A goal is planned at its expected gain, a guardrail at no true difference. The probability of SHIP
is the product over the gates, as if they were independent; related gates do better. The spread of
paired scores is assumed, or measured in an earlier run.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from tunegate.harness.comparison.corpus_level import LEAST
from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.comparison.estimator import FEW_CLUSTERS, ScoreSpread
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.comparison.planned_comparison import (
    GateTest,
    PlannedComparison,
    fewest_cases,
)
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.decision.planning.advisory_gates import (
    advisory_notes,
    content_gap,
    is_advisory,
    silent_goals,
    silent_parts,
)
from tunegate.harness.decision.planning.cheaper_designs import cheaper_designs
from tunegate.harness.decision.planning.gate_cases import cluster_count, count_asked, prompts_on
from tunegate.harness.decision.planning.look_schedule import judged_once_notes, planned_shares
from tunegate.harness.decision.planning.pilot import PilotRun, pilot_spread
from tunegate.harness.decision.planning.unreachable_gates import (
    undecidable_gates,
    unreachable_gates,
    unreachable_reasons,
)
from tunegate.harness.gates.contract.outcome import PlannedTest
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.defaults import POWER
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite.suite import Suite


@dataclass(frozen=True, slots=True)
class GatePower:
    """Power of one gate under one assumption on the spread; differences are improvements."""

    comparison: PlannedComparison
    provable: float | None
    """Smallest true gain, or smallest tolerance, proven with 80 % power; None if nothing is."""
    effect: float
    """The true difference assumed for the chance."""
    chance: float
    """Probability of a pass."""
    cases: int | None
    """Cases for 80 % power of this gate alone; None if no number is enough."""


@dataclass(frozen=True, slots=True)
class GatePlan:
    """One gate: its power for every assumption on the spread, or why it is not planned."""

    gate: Gate
    powers: tuple[GatePower, ...]
    note: str
    """Why nothing is planned, or a caveat of the plan."""
    counts: bool
    """Whether the probability of SHIP depends on it: not levels, nor goals that the rule skips."""


@dataclass(frozen=True)
class SuitePlan:
    """One suite: its gates, and their probability of SHIP."""

    suite: Suite
    pilot: PilotRun | None
    """The earlier run that spread and time are taken from."""
    n_clusters: int | None
    """None if every case is its own cluster."""
    gates: tuple[GatePlan, ...]
    chances: tuple[float, ...]
    """Probability of SHIP for each assumption, if the floors hold; empty if not planned."""
    cases: tuple[int | None, ...]
    """Cases for which it is 80 %, likewise; None if no number is enough."""
    refusals: tuple[str, ...]
    """Why SHIP cannot be reached at all, one sentence per gate."""
    notes: tuple[str, ...]


def plan_suite(suite: Suite, pilot: PilotRun | None = None) -> SuitePlan:
    """Plan a suite by what an earlier run showed; else by suite.toml's spread, or a grid of three.

    Source: Schultzberg, Ankargren and Frånberg (2024), arXiv 2402.11609: if the gates' errors add
    up to 20 % at most, all pass with a probability of 80 %, however they are related. The cases are
    the fewest for which they do, so the error falls on the gates that are hard to prove.
    """
    prompts = prompts_on(suite)
    n_clusters = cluster_count(prompts)
    refusals = (
        *unreachable_gates(suite),
        *silent_goals(suite),
        *silent_parts(suite),
        *undecidable_gates(suite, n_clusters),
    )
    gap = any(content_gap(suite))
    # Fewer than ten clusters decide nothing, however few cases the spread needs.
    least = 1 if n_clusters is None else math.ceil(FEW_CLUSTERS * len(prompts) / n_clusters)
    planner = _Planner(suite, pilot, least)
    gates = planner.gates()
    chances, cases = planner.whole_rule([g for g in gates if g.counts])
    return SuitePlan(
        suite=suite,
        pilot=pilot,
        n_clusters=n_clusters,
        gates=gates,
        chances=tuple(0.0 for _ in chances) if refusals or gap else chances,
        cases=cases,
        refusals=refusals,
        notes=(*_notes(suite, gates, n_clusters, pilot), *planner.cheaper_designs(gates)),
    )


class _Planner:
    """The gates of one suite, planned together."""

    def __init__(self, suite: Suite, pilot: PilotRun | None, least: int) -> None:
        self.suite, self.pilot, self.least = suite, pilot, least
        gains: dict[str | None, list[Gate]] = defaultdict(list)
        for gate in suite.gates:
            if gate_kind(gate.kind).is_goal:
                gains[gate.against].append(gate)
        # The rule holds for the goals against each reference by themselves.
        needed = 1 if suite.goal_rule == "primary" else None
        rules = {ref: list(dict.fromkeys(g.rule_id for g in of)) for ref, of in gains.items()}
        self.goals = [
            goal for ref, of in gains.items() for goal in of if goal.rule_id in rules[ref][:needed]
        ]
        # Holm's first step: if one of m goals is enough, the best is tested at alpha/m.
        any_goal = suite.goal_rule == "any"
        self.alternatives = {ref: len(ids) if any_goal else 1 for ref, ids in rules.items()}
        self.shares = cache(lambda n: planned_shares(suite, n))
        self.tests: dict[tuple[Any, ...], GateTest] = {}
        """Parameters of a test on 0/1 scores → the test, which is expensive to enumerate."""

    def gates(self) -> tuple[GatePlan, ...]:
        """Return the plans of the gates, in the order of the suite."""
        goals = {g.id: self._plan_goal(g) for g in self.suite.gates if gate_kind(g.kind).is_goal}
        plans = [goals.get(gate.id) or self._plan_guard(gate, goals) for gate in self.suite.gates]
        return tuple(
            replace(p, counts=p.counts and not is_advisory(self.suite, p.gate)) for p in plans
        )

    def _plan_goal(self, gate: Gate) -> GatePlan:
        """Plan a goal at its expected gain, or at the smallest that is provable."""
        confidence = 1 - (1 - gate.confidence) / self.alternatives[gate.against]
        comparisons, test, notes = self._compare(gate, confidence)
        powers = []
        for comparison in comparisons:
            provable = comparison.detectable()
            largest = comparison.limit if comparison.limit is not None else 1.0
            effect = gate.expected_gain or (largest if provable is None else provable)
            chance, cases = comparison.chance(effect), self._cases(gate, comparison, effect)
            powers.append(GatePower(comparison, provable, effect, chance, cases))
        if powers and gate.expected_gain is None:
            notes.append("no expected_gain given: planned at the smallest provable gain")
        counts = gate in self.goals
        if test.margin is not None and not counts:
            notes.append("not needed: goal_rule = primary asks for the first gain")
        return GatePlan(gate, tuple(powers), "; ".join(notes), counts)

    def _plan_guard(self, gate: Gate, goals: Mapping[str, GatePlan]) -> GatePlan:
        """Plan a guardrail at no true difference, or at the gain of a goal on its metric."""
        comparisons, test, notes = self._compare(gate, gate.confidence)
        # A goal is planned to be reached: its gain is the true difference here, and proves a
        # tolerance even if base has nothing to lose. Other kinds have effects on other scales.
        gains: Sequence[GatePower] = ()
        for goal in self.goals:
            same = goal.subject == gate.subject
            if same and all(gate_kind(g.kind).tests_difference for g in (goal, gate)):
                gains = goals[goal.id].powers
        refused = any(unreachable_reasons(self.suite, gate)) or (test.refused and not gains)
        powers = []
        for index, comparison in enumerate(comparisons):
            effect = gains[index].effect if gains else 0.0
            chance = 0.0 if refused else comparison.chance(effect)
            cases = self._cases(gate, comparison, effect)
            powers.append(GatePower(comparison, comparison.tolerable(), effect, chance, cases))
        return GatePlan(gate, tuple(powers), "; ".join(notes), test.counts)

    def _cases(self, gate: Gate, comparison: PlannedComparison, effect: float) -> int | None:
        """Return the cases for 80 % power, and no fewer than the gate takes in any case."""
        cases = comparison.cases(effect, POWER)
        least = LEAST if self.suite.metric(gate.metric).corpus else 1
        return None if cases is None else max(cases, self.least, least)

    def _compare(
        self, gate: Gate, confidence: float
    ) -> tuple[list[PlannedComparison], PlannedTest, list[str]]:
        """Return the gate's comparison for each spread, its kind's plan, and notes on both."""
        metric, kind = self.suite.metric(gate.metric), gate_kind(gate.kind)
        pairs = None if self.pilot is None else self.pilot.of_gate(gate)
        test = kind.plan_test(gate, metric, pairs)
        if test.margin is None:
            return [], test, [test.note]
        spreads, why = self._spreads(gate)
        in_logarithms = pairs is not None and kind.judged_pairs(gate, pairs).pairs.in_logarithms
        comparisons = [
            PlannedComparison(
                n=count_asked(self.suite, metric, gate.tag),
                margin=test.margin,
                confidence=confidence,
                spread=spread,
                limit=1.0 if spread.binary else None if in_logarithms else metric.bound,
                test=self._test(gate, pairs, spread),
                looks=partial(self._shares, gate),
                target=kind.target_effect(gate, math.nan),
            )
            for spread in spreads
        ]
        return comparisons, test, [note for note in (test.note, why) if note]

    def _test(self, gate: Gate, seen: Pairs | None, spread: ScoreSpread) -> GateTest | None:
        """Return the gate's own test; None if it is planned by formula."""
        metric, kind = self.suite.metric(gate.metric), gate_kind(gate.kind)
        # No sample of scores shows a corpus value.
        if metric.corpus is not None or (self.suite.generation.samples > 1 and spread.binary):
            return None
        [record] = [m for m in self.suite.record().metrics if m.name == gate.metric]
        if not spread.binary and seen is not None:
            judged = kind.judged_pairs(gate, seen)

            def on_scale(base: Sequence[float], tuned: Sequence[float], confidence: float) -> bool:
                sample = replace(
                    judged.pairs, base=tuple(base), tuned=tuple(tuned), clusters=None, cases=()
                )
                return is_proven(sample, judged.margin, confidence)

            return GateTest(
                on_scale,
                higher_is_better=judged.pairs.metric.higher_is_better,
                shape=judged.pairs.differences,
                margin=judged.margin,
            )

        def on_scores(base: Sequence[float], tuned: Sequence[float], confidence: float) -> bool:
            judged = kind.judged_pairs(gate, Pairs("", record, tuple(base), tuple(tuned)))
            return is_proven(judged.pairs, judged.margin, confidence)

        higher = record.higher_is_better
        level = seen.base_level if seen is not None else 0.5
        key = gate.kind, gate.margin, str(gate.options), higher, record.range, level, spread.binary
        test = GateTest(on_scores, higher_is_better=higher, base_level=level)
        return self.tests.setdefault(key, test)

    def _share(self, gate: Gate) -> float:
        """Return the share of the suite's cases that the gate rests on."""
        if gate.tag is None:
            return 1.0
        return max(1, len(prompts_on(self.suite, gate.tag))) / len(prompts_on(self.suite))

    def _shares(self, gate: Gate, n: int) -> tuple[float, ...]:
        """Return the share of the gate's `n` cases seen at each look."""
        # A slice waits until it has as many cases as the suite at its first look.
        share = self._share(gate)
        copies = len(self.suite.plain_cases) / len(prompts_on(self.suite))
        suite = self.shares(round(n / share * copies))
        return tuple(t for t in suite if t == 1 or t * share >= suite[0])

    def whole_rule(
        self, gates: Sequence[GatePlan]
    ) -> tuple[tuple[float, ...], tuple[int | None, ...]]:
        """Return the probability of SHIP and the cases for 80 %, for each assumption."""
        if not gates or not all(g.powers for g in gates):
            return (), ()
        any_goal = self.suite.goal_rule == "any"
        # Goals by reference, each with its gate, or with one for every value of a key.
        goals: dict[str | None, dict[str, list[GatePlan]]] = defaultdict(lambda: defaultdict(list))
        for plan in gates:
            if gate_kind(plan.gate.kind).is_goal and any_goal:
                goals[plan.gate.against][plan.gate.rule_id].append(plan)
        others = [g for g in gates if not (any_goal and gate_kind(g.gate.kind).is_goal)]
        chances, cases = [], []
        for index in range(len(gates[0].powers)):
            # Only the likeliest goal counts, which is safe however the goals are related.
            likeliest = (
                max(of.values(), key=lambda rule: _chance(rule, index)) for of in goals.values()
            )
            needed = [*others, *(plan for rule in likeliest for plan in rule)]
            chances.append(_chance(needed, index))
            cases.append(self._cases_of(needed, index))
        return tuple(chances), tuple(cases)

    def _cases_of(self, gates: Sequence[GatePlan], index: int) -> int | None:
        """Return the fewest cases for which the gates' errors add up to 20 % at most."""
        alone = [(gate.powers[index].cases, self._share(gate.gate)) for gate in gates]
        if any(n is None for n, _ in alone):
            return None
        start = max(math.ceil(n / share) for n, share in alone if n is not None)
        if len(gates) == 1:
            return start
        powers = [(g.powers[index], self._share(g.gate)) for g in gates]

        def error(n: int) -> float:
            return sum(
                1 - power.comparison.power(max(2, round(n * share)), power.effect)
                for power, share in powers
            )

        found = fewest_cases(error, 1 - POWER, start)
        return None if found is None else max(found, start)

    def cheaper_designs(self, gates: Sequence[GatePlan]) -> Iterator[str]:
        """Suggest ways to need fewer cases for the most demanding gate, at a middling spread."""
        counted = [g for g in gates if g.counts and g.powers]
        middle = [(g, g.powers[len(g.powers) // 2]) for g in counted]
        short = [(o.cases, g, o) for g, o in middle if o.cases and o.chance < POWER]
        if short:
            _, plan, power = max(short, key=lambda row: row[0])
            table = None if self.pilot is None else self.pilot.table
            yield from cheaper_designs(self.suite, plan.gate, power.comparison, power.effect, table)

    def _spreads(self, gate: Gate) -> tuple[tuple[ScoreSpread, ...], str]:
        """Return the assumed spreads, or why nothing can be assumed."""
        metric = self.suite.metric(gate.metric)
        if count_asked(self.suite, metric, gate.tag) < 2:
            return (), "not planned: it takes 2 cases"
        if self.pilot is not None:
            seen = self.pilot.of_gate(gate)
            found, changed = pilot_spread(seen, gate), seen.wins + seen.losses
            if not found:
                return found, "σ unknown: all differences in the run are equal; name another run"
            rough = changed < FEW_CHANGED and not found[0].binary
            few = f"rough: only {changed} of {count_noun(seen.n, 'case')} changed in the run"
            return found, few if rough else ""
        # The mean of several samples is not 0 or 1.
        averaged = metric.needs is CellKind.GENERATE and self.suite.generation.samples > 1
        binary = metric.binary and not averaged
        if written := self.suite.written_spreads:
            if metric.name not in written:
                return (), f"spread unknown: add {metric.name} to [plan] spread"
            # "Nothing changed" comes first; a t test needs some spread.
            least = 0.0 if binary else written[metric.name] / 100
            return tuple(ScoreSpread(v, binary=binary) for v in (least, written[metric.name])), ""
        found = _assumed_spreads(metric, binary=binary)
        return found, "" if found else "σ unknown: plan from a first run with --from RUN"


def _chance(gates: Sequence[GatePlan], index: int) -> float:
    """Return the probability that all gates pass, as if they were independent."""
    return math.prod(gate.powers[index].chance for gate in gates)


FEW_CHANGED = 5
"""Changed scores in an earlier run below which their spread is hardly known."""
GRID = (0.1, 0.2, 0.3)
"""Assumed discordance, or σ as a share of the metric's range."""


def _assumed_spreads(metric: Metric, *, binary: bool) -> tuple[ScoreSpread, ...]:
    """Return the grid for a metric without a pilot; empty if its range is unknown."""
    if binary:
        return tuple(ScoreSpread(share, binary=True) for share in GRID)
    return tuple(ScoreSpread(share * metric.bound, binary=False) for share in GRID if metric.bound)


def _notes(
    suite: Suite,
    gates: Sequence[GatePlan],
    n_clusters: int | None,
    pilot: PilotRun | None,
) -> Iterator[str]:
    planned = [g for g in gates if g.powers]
    if n_clusters is not None and pilot is None and planned:
        yield (
            f"the cases of the {n_clusters} clusters are planned as if they were independent; "
            "--from RUN measures how far they are"
        )
    if any(suite.metric(g.gate.metric).needs is CellKind.LATENCY for g in planned):
        yield f"latency is timed on {suite.generation.latency_cases} cases: raise latency_cases too"
    yield from advisory_notes(suite)
    yield from _smallest_parts(suite)
    yield from judged_once_notes(suite)
    if planned and planned_shares(suite, len(suite.cases)):
        yield "chances are for a run that may end early; --early-stop off adds a point or two"
    goals = {g.gate.rule_id for g in gates if gate_kind(g.gate.kind).is_goal}
    if suite.goal_rule == "any" and len(goals) > 1:
        yield "goal_rule = any: each gain is planned at alpha/m (Holm), the likeliest one counted"


def _smallest_parts(suite: Suite) -> Iterator[str]:
    """Yield the value with the fewest cases of each key under whose values a rule must hold."""
    for key in dict.fromkeys(gate.every for gate in suite.gates if gate.every is not None):
        counts = {
            gate.tag: count_asked(suite, suite.metric(gate.metric), gate.tag)
            for gate in suite.gates
            if gate.every == key
        }
        tag, least = min(counts.items(), key=lambda part: part[1])
        yield (
            f"every {key}: all {len(counts)} must hold; the smallest, {tag}, has "
            f"{count_noun(least, 'case')}"
        )
