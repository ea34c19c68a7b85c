"""The probability of SHIP, and the cases it takes.

A goal is planned at its expected gain, a guardrail at no true difference. The probability of SHIP
is the product over the gates, as if they were independent; related gates do better. The spread of
paired scores is assumed, or measured in an earlier run.
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
from tunegate.harness.comparison.estimator import FEW_CLUSTERS, ScoreSpread
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.comparison.planned_comparison import (
    GateTest,
    PlannedComparison,
    PlannedLooks,
    fewest_cases,
)
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.decision.planning.advisory_gates import (
    advisory_notes,
    content_gap,
    is_advisory,
    silent_goals,
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

    spread: ScoreSpread
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
    powers: tuple[GatePower, ...] = ()
    note: str = ""
    """Why nothing is planned, or a caveat of the plan."""
    counts: bool = True
    """Whether the probability of SHIP depends on it: not levels, nor goals that the rule skips."""


@dataclass(frozen=True)
class SuitePlan:
    """One suite: its gates, and their probability of SHIP."""

    name: str
    n: int
    """Cases."""
    n_clusters: int | None
    """None if every case is its own cluster."""
    goal_rule: str
    gates: tuple[GatePlan, ...]
    chances: tuple[float, ...]
    """Probability of SHIP for each assumption, if the floors hold; empty if not planned."""
    cases: tuple[int | None, ...]
    """Cases for which it is 80 %, likewise; None if no number is enough."""
    refusals: tuple[str, ...]
    """Why SHIP cannot be reached at all, one sentence per gate."""
    notes: tuple[str, ...]
    seconds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Arm → seconds per case in the earlier run."""
    unchanged: float | None = None
    """Share of tuned's greedy answers there that equal base's; None if unknown."""
    spread_written: bool = False
    """Whether the assumptions are "nothing changed" and the spread in suite.toml."""


def plan_suite(suite: Suite, observed: PilotRun | None = None) -> SuitePlan:
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
        *undecidable_gates(suite, n_clusters),
    )
    gap = any(content_gap(suite))
    # Fewer than ten clusters decide nothing, however few cases the spread needs.
    least = 1 if n_clusters is None else math.ceil(FEW_CLUSTERS * len(prompts) / n_clusters)
    plan = _Planner(suite, observed, least)
    gates = plan.gates()
    chances, cases = plan.whole_rule([g for g in gates if g.counts])
    return SuitePlan(
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


class _Planner:
    """The gates of one suite, planned together."""

    def __init__(self, suite: Suite, observed: PilotRun | None, least: int) -> None:
        self.suite, self.observed, self.least = suite, observed, least
        gains = [g for g in suite.gates if gate_kind(g.kind).is_goal]
        self.goals = gains[:1] if suite.goal_rule == "primary" else gains
        # Holm's first step: if one of m goals is enough, the best is tested at alpha/m.
        self.alternatives = max(1, len(gains)) if suite.goal_rule == "any" else 1
        self.planned = {g.id: self._planned(g) for g in suite.gates}
        self.shares = cache(lambda n: planned_shares(suite, n))
        self.tests: dict[tuple[Any, ...], GateTest] = {}
        """Parameters of a test on 0/1 scores → the test, which is expensive to enumerate."""
        self.plans: dict[str, list[PlannedComparison]] = defaultdict(list)
        """Gate → its comparison for each assumption on the spread."""

    def gates(self) -> tuple[GatePlan, ...]:
        """Return the plans of the gates, in the order of the suite."""
        gains = {g.id: self._gain(g) for g in self.suite.gates if gate_kind(g.kind).is_goal}
        # A goal of another kind has its effect on a scale of its own.
        gained = [g for g in self.goals if gate_kind(g.kind).tests_difference]
        reached = {(g.metric, g.tag): gains[g.id].powers for g in gained}
        found = (gains.get(gate.id) or self._guard(gate, reached) for gate in self.suite.gates)
        return tuple(
            replace(g, counts=g.counts and not is_advisory(self.suite, g.gate)) for g in found
        )

    def _gain(self, gate: Gate) -> GatePlan:
        test, counts = self.planned[gate.id], gate in self.goals
        if test.margin is None:
            return GatePlan(gate, (), test.note, counts)
        spreads, why = self._spreads(gate)
        powers = []
        confidence = 1 - (1 - gate.confidence) / self.alternatives
        for spread in spreads:
            plan = self._comparison(gate, test.margin, confidence, spread, bounded=test.bounded)
            provable = plan.detectable()
            largest = plan.limit if plan.limit is not None else 1.0
            effect = gate.expected_gain or (largest if provable is None else provable)
            cases = self._at_least(gate, plan.cases(effect, POWER))
            powers.append(GatePower(spread, provable, effect, plan.chance(effect), cases))
        notes = [test.note, why]
        if powers and gate.expected_gain is None:
            notes.append("no expected_gain given: planned at the smallest provable gain")
        if not counts:
            notes.append("not needed: goal_rule = primary asks for the first gain")
        return GatePlan(gate, tuple(powers), "; ".join(filter(None, notes)), counts)

    def _planned(self, gate: Gate) -> PlannedTest:
        metric = self.suite.metric(gate.metric)
        pairs = None if self.observed is None else self.observed.of_gate(gate)
        return gate_kind(gate.kind).plan_test(gate, metric, pairs)

    def _guard(
        self, gate: Gate, reached: Mapping[tuple[str, str | None], Sequence[GatePower]]
    ) -> GatePlan:
        test = self.planned[gate.id]
        if test.margin is None:
            return GatePlan(gate, (), test.note, counts=test.counts)
        spreads, why = self._spreads(gate)
        # A goal on the same metric is planned to be reached: its gain is the true difference here,
        # and proves a tolerance even if base has nothing to lose.
        on_gain = gate_kind(gate.kind).tests_difference
        gained = reached.get((gate.metric, gate.tag)) if on_gain else None
        refused = any(unreachable_reasons(self.suite, gate))
        refused = refused or (test.refused and not gained)
        powers = []
        for index, spread in enumerate(spreads):
            effect = gained[index].effect if gained else 0.0
            plan = self._comparison(
                gate, test.margin, gate.confidence, spread, bounded=test.bounded
            )
            chance = 0.0 if refused else plan.chance(effect)
            cases = self._at_least(gate, plan.cases(effect, POWER))
            powers.append(GatePower(spread, plan.tolerable(), effect, chance, cases))
        note = "; ".join(filter(None, [test.note, why]))
        return GatePlan(gate, tuple(powers), note, test.counts)

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
            count_asked(self.suite, metric, gate.tag),
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
        """Return the gate's own test, and its margin if the test judges on another scale."""
        metric, kind = self.suite.metric(gate.metric), gate_kind(gate.kind)
        # No sample of scores shows a corpus value.
        if metric.corpus is not None or (self.suite.generation.samples > 1 and spread.binary):
            return None, None
        [record] = [m for m in self.suite.record().metrics if m.name == gate.metric]
        seen = None if self.observed is None else self.observed.of_gate(gate)
        judged = None if seen is None else kind.judged_pairs(gate, seen)

        def on_scores(base: Sequence[float], tuned: Sequence[float], confidence: float) -> bool:
            pairs = Pairs("", record, tuple(base), tuple(tuned))
            on_own_scale = kind.judged_pairs(gate, pairs)
            return is_proven(on_own_scale.pairs, on_own_scale.margin, confidence)

        higher = record.higher_is_better
        if spread.binary or judged is None:
            level = seen.base_level if seen is not None else 0.5
            key = gate.kind, gate.margin, str(gate.options), higher, record.range, level
            test = GateTest(on_scores, higher_is_better=higher, base_level=level)
            return self.tests.setdefault((*key, spread.binary), test), None

        def on_scale(base: Sequence[float], tuned: Sequence[float], confidence: float) -> bool:
            sample = replace(
                judged.pairs, base=tuple(base), tuned=tuple(tuned), clusters=None, cases=()
            )
            return is_proven(sample, judged.margin, confidence)

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
        return max(1, len(prompts_on(self.suite, gate.tag))) / len(prompts_on(self.suite))

    def _shares(self, gate: Gate, n: int) -> tuple[float, ...]:
        """Return the share of the gate's `n` cases seen at each look."""
        # A slice waits until it has as many cases as the suite at its first look.
        share = self._share(gate)
        copies = len(self.suite.cases) / len(prompts_on(self.suite))
        suite = self.shares(round(n / share * copies))
        return tuple(t for t in suite if t == 1 or t * share >= suite[0])

    def _at_least(self, gate: Gate, cases: int | None) -> int | None:
        least = LEAST if self.suite.metric(gate.metric).corpus else 1
        return None if cases is None else max(cases, self.least, least)

    def whole_rule(
        self, gates: Sequence[GatePlan]
    ) -> tuple[tuple[float, ...], tuple[int | None, ...]]:
        """Return the probability of SHIP and the cases for 80 %, for each assumption."""
        if not gates or not all(g.powers for g in gates):
            return (), ()
        any_goal = self.suite.goal_rule == "any"
        goals = [g for g in gates if gate_kind(g.gate.kind).is_goal and any_goal]
        others = [g for g in gates if g not in goals]
        chances, cases = [], []
        for index in range(len(gates[0].powers)):
            needed = list(others)
            if goals:
                # Only the likeliest goal counts, which is safe however the goals are related.
                needed.append(max(goals, key=lambda g: g.powers[index].chance))
            chances.append(math.prod(g.powers[index].chance for g in needed))
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
        plans = [
            (self.plans[g.gate.id][index], g.powers[index].effect, self._share(g.gate))
            for g in gates
        ]

        def error(n: int) -> float:
            return sum(
                1 - plan.power(max(2, round(n * share)), effect) for plan, effect, share in plans
            )

        found = fewest_cases(error, 1 - POWER, start)
        return None if found is None else max(found, start)

    def cheaper_designs(self, gates: Sequence[GatePlan]) -> Iterator[str]:
        """Suggest ways to need fewer cases for the most demanding gate, at a middling spread."""
        counted = [g for g in gates if g.counts and g.powers]
        middle = [(g, g.powers[len(g.powers) // 2]) for g in counted]
        short = [(o.cases, g, o) for g, o in middle if o.cases and o.chance < POWER]
        if short:
            _, found, power = max(short, key=lambda row: row[0])
            plan = self.plans[found.gate.id][len(found.powers) // 2]
            table = None if self.observed is None else self.observed.table
            yield from cheaper_designs(self.suite, found.gate, plan, power.effect, table)

    def _spreads(self, gate: Gate) -> tuple[tuple[ScoreSpread, ...], str]:
        """Return the assumed spreads, or why nothing can be assumed."""
        metric = self.suite.metric(gate.metric)
        if count_asked(self.suite, metric, gate.tag) < 2:
            return (), "not planned: it takes 2 cases"
        if self.observed is not None:
            seen = self.observed.of_gate(gate)
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
    observed: PilotRun | None,
) -> Iterator[str]:
    planned = [g for g in gates if g.powers]
    if n_clusters is not None and observed is None and planned:
        yield (
            f"the cases of the {n_clusters} clusters are planned as if they were independent; "
            "--from RUN measures how far they are"
        )
    if any(suite.metric(g.gate.metric).needs is CellKind.LATENCY for g in planned):
        yield f"latency is timed on {suite.generation.latency_cases} cases: raise latency_cases too"
    yield from advisory_notes(suite)
    yield from judged_once_notes(suite)
    if planned and planned_shares(suite, len(suite.cases)):
        yield "chances are for a run that may end early; --early-stop off adds a point or two"
    if suite.goal_rule == "any" and sum(gate_kind(g.gate.kind).is_goal for g in gates) > 1:
        yield "goal_rule = any: each gain is planned at alpha/m (Holm), the likeliest one counted"
