"""Whole runs: false SHIPs and false alarms when many gates are judged together.

Each run is a manifest and its scores, decided by `tunegate.harness.decision.verdict.decide`. Gates
that are not in question are given true effects far beyond their bounds, the worst case for the one
that is. Where a run promises nothing, as for the best of many candidates, the limit is what theory
says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import rules
from benchmarks.error_rates.table import ALPHA, PROMISE, Row, Settings, simulated
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.further_arm import BASE_AGAIN, INCUMBENT, SHIPPED
from tunegate.harness.decision.candidates.shared_error import shared_error
from tunegate.harness.decision.gating.decide_all import decide_gate
from tunegate.harness.decision.gating.proven_regressions import ProvenRegressions
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.decision.verdict.deployment_parity import ParityEvidence, compare_shipped
from tunegate.harness.decision.verdict.incumbent_comparison import compare_incumbent
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateReason
from tunegate.harness.records.manifest import (
    Gate,
    LookSchedule,
    Manifest,
    MetricRecord,
    SuiteRecord,
)
from tunegate.harness.records.parity import ParityStatus
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict, VerdictRecord
from tunegate.harness.stats.group_sequential import look_sizes

Floats = NDArray[np.float64]
Column = tuple[Floats, Floats]
Trial = Callable[[np.random.Generator], bool]
"""Draws a run and returns whether it errs."""
Draw = Callable[[np.random.Generator], Column]

SUITE = "s"
CASES, LOOKED, COMPARED = 100, 200, 200
"""Cases of a run, of one with looks, and of a comparison with a further arm."""
MARGIN = 0.05
ARMS = ("base", "tuned")
HIGH, NONE, FINE, WORSE = (0.5, 0.05), (0.15, 0.15), (0.15, 0.01), (0.05, 0.05 + MARGIN)
"""Chances of a win and of a loss."""


@dataclass(frozen=True, slots=True)
class Gated:
    """One metric of a run: its gate, and the scores that a run of it shows."""

    metric: MetricRecord
    gate: Gate
    scores: tuple[Floats, ...]
    """Base's and tuned's, and base's asked again where there are three; NaN is unscored."""


Suites = Mapping[str, Sequence[Gated]]


def gated(
    name: str, kind: str, margin: float | str, scores: tuple[Floats, ...], of: MetricRecord
) -> Gated:
    """Return a gate of a metric of its own."""
    metric = of.model_copy(update={"name": name, "use": name})
    return Gated(metric, Gate(metric=name, kind=kind, margin=margin), scores)


def flips(rng: np.random.Generator, n: int, win: float, lose: float) -> Column:
    """Return 0/1 scores with the given chances of a win and of a loss."""
    kind = rng.random(n)
    other = (rng.random(n) < 0.5).astype(np.float64)
    won, lost = kind < win, (kind >= win) & (kind < win + lose)
    base = np.where(won, 0.0, np.where(lost, 1.0, other))
    return base, np.where(won, 1.0, np.where(lost, 0.0, other))


def noise(rng: np.random.Generator, n: int, mean: float = 0.0) -> Column:
    """Return unbounded scores whose difference is normal around `mean`."""
    base = rng.normal(0, 1, n)
    return base, base + rng.normal(mean, 1, n)


def manifest_of(
    suites: Suites,
    *,
    goal_rule: str = "primary",
    looks: LookSchedule | None = None,
    attempt: int = 1,
    arms: Sequence[str] = ARMS,
) -> Manifest:
    """Return the manifest of a run; attempts after the first are judged at their share."""
    records = tuple(
        SuiteRecord(
            name=name,
            path=f"suites/{name}/suite.toml",
            hash=name,
            n_cases=len(parts[0].scores[0]),
            goal_rule=goal_rule,
            max_unscored=0.05,
            metrics=tuple({part.metric.name: part.metric for part in parts}.values()),
            gates=tuple(part.gate for part in parts),
            generation={},
            alpha_per_attempt=attempt > 1,
            looks=looks,
        )
        for name, parts in suites.items()
    )
    return Manifest(
        run_id="r",
        created="2026-01-01T00:00:00+00:00",
        command=(),
        arms={arm: {} for arm in arms},
        suites=records,
        seed=0,
        plan=(),
        versions={},
        comparability={},
        liveness={},
        attempts=dict.fromkeys(suites, attempt),
    )


def cases_of(suites: Suites) -> dict[str, list[Case]]:
    """Return the cases of a run."""
    return {
        name: [Case(id=str(i), prompt=f"p{i}") for i in range(len(parts[0].scores[0]))]
        for name, parts in suites.items()
    }


def rows_of(
    suites: Suites, names: Sequence[str] = (*ARMS, BASE_AGAIN), *, first: int | None = None
) -> list[ScoreRow]:
    """Return the scores of a run, of its first cases only if so asked."""
    return [
        ScoreRow(
            suite=suite,
            metric=part.metric.name,
            case=str(i),
            arm=arm,
            value=None if math.isnan(value) else value,
        )
        for suite, parts in suites.items()
        for part in parts
        for arm, column in zip(names, part.scores, strict=False)
        for i, value in enumerate(column[:first].tolist())
    ]


def decided(suites: Suites, *, goal_rule: str = "primary", attempt: int = 1) -> VerdictRecord:
    """Decide a run that asks all cases."""
    manifest = manifest_of(suites, goal_rule=goal_rule, attempt=attempt)
    return decide_run(manifest, cases_of(suites), rows_of(suites))


def verdict(parts: Sequence[Gated], goal_rule: str = "primary", *, attempt: int = 1) -> Verdict:
    """Return the verdict of a run of one suite."""
    return decided({SUITE: parts}, goal_rule=goal_rule, attempt=attempt).verdict


def look_schedule(n: int, *, first: int = 50) -> LookSchedule:
    """Return the looks at this many cases, in their order."""
    sizes = look_sizes(n, first=first)
    shares = tuple(size / n for size in sizes)
    return LookSchedule(order=tuple(map(str, range(n))), sizes=tuple(sizes), shares=shares)


def looked_verdict(parts: Sequence[Gated], goal_rule: str, *, first: int = 50) -> Verdict:
    """Return the verdict of a run of one suite that ends as soon as a look decides it."""
    plan = look_schedule(len(parts[0].scores[0]), first=first)
    suites = {SUITE: parts}
    manifest = manifest_of(suites, goal_rule=goal_rule, looks=plan)
    found = Verdict.UNDECIDED
    for index, size in enumerate(plan.sizes):
        look = {SUITE: InterimLook(plan, index)}
        scores = rows_of(suites, first=size)
        found = decide_run(manifest, cases_of(suites), scores, looks=look).verdict
        if found is not Verdict.UNDECIDED:
            break
    return found


@dataclass(frozen=True, slots=True)
class RunCell:
    """One kind of error of a run."""

    what: str
    errs: Trial
    n: int = CASES
    part: int = 12
    """The settings' samples are divided by it, since each run has many metrics."""
    limit: float = PROMISE
    note: str = ""
    group: str = "runs"

    def row(self, settings: Settings) -> Row:
        """Simulate it."""
        rng = settings.rng(f"{self.group} {self.what}")
        reps = max(30, settings.reps // self.part)
        rate, error = simulated(sum(self.errs(rng) for _ in range(reps)), reps)
        n, limit = str(self.n), self.limit
        return Row(self.group, self.what, n, rate, error, limit=limit, note=self.note)


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of whole runs."""
    cells = [
        *(_one_broken(kind, count) for kind in ("0/1", "score") for count in (1, 5, 10)),
        *(_alarms(count) for count in (5, 10, 20)),
        *(_at_their_bounds(kind, count) for kind in BOUNDS for count in (5, 10)),
        *_goals(),
        *_suites(),
        *_candidates(5),
        *_candidates(20),
        *_further_arms(),
    ]
    return [cell.row(settings) for cell in cells[:: 4 if settings.fast else 1]]


def _goal(rng: np.random.Generator) -> Gated:
    """Return a goal that is far exceeded."""
    return gated("goal", "gain", 0.0, flips(rng, CASES, *HIGH), rules.ZERO_ONE)


def _marks(rng: np.random.Generator) -> Column:
    """Return scores between 0 and 1 that are worse by exactly the margin."""
    base = rng.uniform(0.3, 0.7, CASES)
    return base, base + rng.uniform(-0.3, 0.2, CASES)


def _one_broken(kind: str, count: int) -> RunCell:
    """Return false SHIPs with this many guardrails, one of them worse by exactly its tolerance."""

    def errs(rng: np.random.Generator) -> bool:
        of = rules.ZERO_ONE if kind == "0/1" else rules.SCORE
        scores = flips(rng, CASES, *WORSE) if kind == "0/1" else _marks(rng)
        others = [
            gated(f"guard{i}", "tolerance", MARGIN, flips(rng, CASES, *FINE), rules.ZERO_ONE)
            for i in range(count - 1)
        ]
        broken = gated("broken", "tolerance", MARGIN, scores, of)
        return verdict([_goal(rng), broken, *others]) is Verdict.SHIP

    what = f"false SHIP, guardrails: {count}, one ({kind}) worse by its tolerance"
    return RunCell(what, errs, part=5)


def _alarms(count: int) -> RunCell:
    """Return claimed regressions of unchanged metrics, half of them 0/1."""

    def errs(rng: np.random.Generator) -> bool:
        family: dict[tuple[str, str], Pairs] = {}
        for i in range(count):
            bits = i % 2 == 1
            scores = flips(rng, CASES, *NONE) if bits else noise(rng, CASES)
            of = rules.ZERO_ONE if bits else rules.UNBOUNDED
            family[SUITE, str(i)] = rules.pairs_of(scores[0].tolist(), scores[1].tolist(), of)
        p_values = {key: pairs.reversed_test().p_value for key, pairs in family.items()}
        alarms = ProvenRegressions(p_values, looks={})
        return any(
            decide_gate(
                Gate(metric=name, kind="gain", margin=0.0),
                pairs,
                regressed=alarms.proven(suite, name, ALPHA),
            ).reason
            is GateReason.REGRESSED
            for (suite, name), pairs in family.items()
        )

    return RunCell(f"false REGRESSED in a run of {count} unchanged metrics (Holm)", errs, part=5)


def _drops(rng: np.random.Generator) -> Column:
    """Return scores where a tenth of the cases drop."""
    return np.full(CASES, 0.9), np.where(rng.random(CASES) < 0.1, 0.2, 0.9)


def _longer(rng: np.random.Generator) -> Column:
    """Return lengths where tuned's are 1.2 times base's."""
    base = np.exp(rng.normal(4, 0.5, CASES))
    return base, 1.2 * base * np.exp(rng.normal(0, 0.3, CASES))


def _wrong(rng: np.random.Generator) -> Column:
    """Return 0/1 scores where tuned gets a tenth wrong."""
    return flips(rng, CASES, 0.0, 0.0)[0], (rng.random(CASES) < 0.1).astype(np.float64)


def _right(rng: np.random.Generator) -> Column:
    """Return 0/1 scores where tuned gets nine tenths right."""
    return flips(rng, CASES, 0.0, 0.0)[0], (rng.random(CASES) < 0.9).astype(np.float64)


BOUNDS: dict[str, tuple[float, MetricRecord, Draw]] = {
    "severe_drop": (0.1, rules.SCORE, _drops),
    "ratio": (1.2, rules.UNBOUNDED, _longer),
    "floor": (0.9, rules.ZERO_ONE, _right),
    "ceiling": (0.1, rules.ZERO_ONE.model_copy(update={"higher_is_better": False}), _wrong),
}
"""Kind → its margin, and scores that are exactly at it."""


def _at_their_bounds(kind: str, count: int) -> RunCell:
    """Return false BLOCKs of this many gates, all of them exactly at their bounds."""
    margin, of, draw = BOUNDS[kind]

    def errs(rng: np.random.Generator) -> bool:
        bounds = [gated(f"m{i}", kind, margin, draw(rng), of) for i in range(count)]
        if gate_kind(kind).reads_level:
            certified = {"floor_mode": "certified"}
            bounds = [replace(b, gate=b.gate.model_copy(update=certified)) for b in bounds]
        return verdict([_goal(rng), *bounds]) is Verdict.BLOCK

    return RunCell(f"false BLOCK, {count} {kind} gates exactly at their bounds", errs, part=8)


def _goals() -> list[RunCell]:
    """Return false SHIPs of three goals, with looks and without."""

    def errs(
        rng: np.random.Generator, goal_rule: str, means: Sequence[float], *, looks: bool
    ) -> bool:
        n = LOOKED if looks else CASES
        parts = [
            gated(f"goal{i}", "gain", 0.0, noise(rng, n, mean), rules.UNBOUNDED)
            for i, mean in enumerate(means)
        ]
        decide = looked_verdict if looks else verdict
        return decide(parts, goal_rule) is Verdict.SHIP

    return [
        RunCell(
            f'false SHIP, 3 goals, goal_rule = "{rule}", {true} of them true'
            + (", with looks" if looks else ""),
            partial(errs, goal_rule=rule, means=[1.0] * true + [0.0] * (3 - true), looks=looks),
            n=LOOKED if looks else CASES,
            part=16 if looks else 5,
        )
        for rule, true, looks in (
            ("primary", 0, False),
            ("all", 2, False),
            ("any", 0, False),
            ("any", 0, True),
            ("all", 2, True),
        )
    ]


def _suites() -> list[RunCell]:
    """Return the errors of runs of three suites."""

    def one_without(rng: np.random.Generator) -> bool:
        suites = {
            f"s{i}": [gated("goal", "gain", 0.0, flips(rng, CASES, *chances), rules.ZERO_ONE)]
            for i, chances in enumerate((HIGH, HIGH, NONE))
        }
        return decided(suites).verdict is Verdict.SHIP

    def unchanged(rng: np.random.Generator) -> bool:
        suites = {
            f"s{i}": [
                gated("goal", "gain", 0.0, flips(rng, CASES, *NONE), rules.ZERO_ONE),
                gated("guard", "tolerance", 0.1, noise(rng, CASES), rules.UNBOUNDED),
            ]
            for i in range(3)
        }
        return decided(suites).verdict is Verdict.BLOCK

    return [
        RunCell("false SHIP, 3 suites, no gain in one of them", one_without),
        RunCell("false BLOCK, 3 suites of 2 unchanged metrics", unchanged),
    ]


def _tries(rng: np.random.Generator, count: int) -> list[Suites]:
    """Return runs of this many candidates of one base that are no better than it."""
    base = (rng.random(CASES) < 0.6).astype(float)
    # A part of what changes does so in every candidate: fine-tunes on the same data are alike.
    shared = rng.random(CASES) < 0.15
    drawn = (rng.random(CASES) < 0.6).astype(float)
    candidates: list[Suites] = []
    for _ in range(count):
        changed = (rng.random(CASES) < 0.6).astype(float)
        tuned = np.where(shared, drawn, np.where(rng.random(CASES) < 0.3, changed, base))
        candidates.append({SUITE: [gated("goal", "gain", 0.0, (base, tuned), rules.ZERO_ONE)]})
    return candidates


def _candidates(count: int) -> list[RunCell]:
    """Return the chance that any of k candidates that gained nothing ships."""

    def alone(run: Suites, number: int) -> VerdictRecord:
        return decided(run)

    def spent(run: Suites, number: int) -> VerdictRecord:
        return decided(run, attempt=number)

    def shared(run: Suites, number: int) -> VerdictRecord:
        return decide_run(shared_error(manifest_of(run), count), cases_of(run), rows_of(run))

    def any_ships(rng: np.random.Generator, decide: Callable[[Suites, int], VerdictRecord]) -> bool:
        tries = enumerate(_tries(rng, count), start=1)
        return any(decide(run, number).verdict is Verdict.SHIP for number, run in tries)

    what, part = f"any of {count} candidates ships, none has gained", 8 * count
    by_chance = 1 - (1 - ALPHA) ** count
    by_attempt = sum(ALPHA / k for k in range(1, count + 1))
    return [
        RunCell(
            f"{what}, each judged alone",
            partial(any_ships, decide=alone),
            part=part,
            limit=by_chance,
            note="nothing is promised; the limit is that of independent candidates",
        ),
        RunCell(
            f"{what}, alpha_per_attempt",
            partial(any_ships, decide=spent),
            part=part,
            limit=by_attempt,
            note="promised is the sum of 5 %/k",
        ),
        RunCell(f"{what}, `tunegate compare`", partial(any_ships, decide=shared), part=part),
    ]


def _further_arms() -> list[RunCell]:
    """Return the errors of what is said of a shipped artifact and of an incumbent."""

    def equivalent(rng: np.random.Generator, draw: Draw, of: MetricRecord) -> bool:
        return parity(*draw(rng), of) is ParityStatus.EQUIVALENT

    def beats(rng: np.random.Generator, draw: Draw, of: MetricRecord) -> bool:
        today, tuned = draw(rng)
        return against_incumbent(rng, today, tuned, of) is Verdict.SHIP

    def lost(rng: np.random.Generator) -> Column:
        return flips(rng, COMPARED, 0.0, MARGIN)

    def moved(rng: np.random.Generator) -> Column:
        return flips(rng, COMPARED, 0.02, 0.02 + MARGIN)

    shipped = "false EQUIVALENT, shipped differs by exactly the margin"
    today = "false SHIP, tuned worse than the incumbent by exactly the tolerance"
    bits, n = rules.ZERO_ONE, COMPARED
    return [
        RunCell(f"{shipped}: 0/1, losses only", partial(equivalent, draw=lost, of=bits), n=n),
        RunCell(f"{shipped}: 0/1, worse", partial(equivalent, draw=moved, of=bits), n=n),
        RunCell(f"{shipped}: score, worse", partial(equivalent, draw=_marks, of=rules.SCORE)),
        RunCell(f"{today}: 0/1", partial(beats, draw=moved, of=bits), n=n),
        RunCell(f"{today}: score", partial(beats, draw=_marks, of=rules.SCORE)),
    ]


def parity(tuned: Floats, shipped: Floats, of: MetricRecord) -> ParityStatus:
    """Return what is said of the artifact that ships, compared with tuned."""
    run = {SUITE: [gated("m", "tolerance", MARGIN, (tuned, tuned), of)]}
    further = {SUITE: [gated("m", "tolerance", MARGIN, (shipped,), of)]}
    manifest = manifest_of(run, arms=(*ARMS, SHIPPED))
    scored = [*rows_of(run), *rows_of(further, (SHIPPED,))]
    return compare_shipped(manifest, cases_of(run), scored, ParityEvidence()).status


def against_incumbent(
    rng: np.random.Generator, today: Floats, tuned: Floats, of: MetricRecord
) -> Verdict:
    """Return how tuned compares with the incumbent; base is far worse than both."""
    worse = np.nan_to_num(tuned, nan=1.0) * (rng.random(len(tuned)) < 0.5 if of.binary else 0.5)
    run = {SUITE: [gated("m", "tolerance", MARGIN, (worse, tuned), of)]}
    further = {SUITE: [gated("m", "tolerance", MARGIN, (today,), of)]}
    manifest = manifest_of(run, arms=(*ARMS, INCUMBENT))
    scored = [*rows_of(run), *rows_of(further, (INCUMBENT,))]
    return compare_incumbent(manifest, cases_of(run), scored).verdict
