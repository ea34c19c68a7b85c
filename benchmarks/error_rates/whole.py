"""Whole runs again: gates that go together, several candidates, suites, looks and arms.

Where a run promises nothing, as for the best of many candidates on one suite, the limit is what
theory says of it, and the note says so.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import rules
from benchmarks.error_rates.runs import Column, Gated, flips, noise
from benchmarks.error_rates.table import ALPHA, PROMISE, Row, Settings, simulated
from tunegate.harness.candidates.rank import shared_error
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.further_arm import INCUMBENT, SHIPPED
from tunegate.harness.records.cases import Case, ScoreRow
from tunegate.harness.records.manifest import (
    Gate,
    LookSchedule,
    Manifest,
    MetricRecord,
    SuiteRecord,
)
from tunegate.harness.records.verdict import ParityStatus, Verdict
from tunegate.harness.stats.group_sequential import look_sizes
from tunegate.harness.verdict.decide import decide_run
from tunegate.harness.verdict.deployment_parity import ParityEvidence, compare_shipped
from tunegate.harness.verdict.incumbent import compare_incumbent

CASES = 100
LOOKED = 200
"""Planned cases of a run with looks."""
EQUIVALENT = 200
"""Cases of 0/1 scores with which equivalence within the margin can be proven."""
MARGIN = 0.05
CANDIDATES = (5, 20)
ARMS = ("base", "tuned")

Suites = Mapping[str, Sequence[Gated]]
"""Suite → its gates with their scores."""
Bits = NDArray[np.float64]
Trial = Callable[[np.random.Generator], bool]
Draw = Callable[[np.random.Generator], Column]
Chances = tuple[float, float]
"""Of a win and of a loss."""
HIGH, NONE, FINE, WORSE = (0.5, 0.05), (0.15, 0.15), (0.15, 0.01), (0.05, 0.05 + MARGIN)


@dataclass(frozen=True, slots=True)
class RunCell:
    """One kind of error of a run."""

    what: str
    errs: Trial
    """Draws a run and returns whether it errs."""
    n: int = CASES
    part: int = 12
    """Runs are simulated in so small a part of the settings' number: each is many metrics."""
    limit: float = PROMISE
    note: str = ""

    def row(self, settings: Settings) -> Row:
        """Simulate it."""
        rng = settings.rng(f"whole {self.what}")
        reps = max(30, settings.reps // self.part)
        rate, error = simulated(sum(self.errs(rng) for _ in range(reps)), reps)
        return Row("whole", self.what, str(self.n), rate, error, limit=self.limit, note=self.note)


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of whole runs."""
    candidates = CANDIDATES[:1] if settings.fast else CANDIDATES
    cells = [
        *_correlated(),
        *_suites(),
        *_looked(),
        *(cell for count in candidates for cell in _candidates(count)),
        *_arms(),
    ]
    # statsmodels collects garbage in each Holm adjustment: nine tenths of the time.
    with mock.patch.object(gc, "collect", return_value=0):
        return [cell.row(settings) for cell in cells]


def gated(name: str, kind: str, margin: float, scores: tuple[Bits, ...], of: MetricRecord) -> Gated:
    """Return a gate of a metric of its own, with the scores of one arm or more."""
    metric = of.model_copy(update={"name": name, "use": name})
    return Gated(metric, Gate(metric=name, kind=kind, margin=margin), scores)


def manifest_of(
    suites: Suites,
    *,
    goal_rule: str = "primary",
    looks: Mapping[str, LookSchedule] | None = None,
    attempt: int = 1,
    arms: Sequence[str] = ARMS,
) -> Manifest:
    """Return the manifest of a run.

    Args:
        suites: Its suites.
        goal_rule: Rule of every suite.
        looks: Suite → when it is looked at.
        attempt: Which candidate it is, each judged at its share of the error; 1 is the first.
        arms: Names of its arms.
    """
    records = tuple(
        SuiteRecord(
            name=name,
            path=f"suites/{name}/suite.toml",
            hash=name,
            n_cases=len(parts[0].scores[0]),
            goal_rule=goal_rule,
            max_unscored=0.05,
            metrics=tuple(part.metric for part in parts),
            gates=tuple(part.gate for part in parts),
            generation={},
            alpha_per_attempt=attempt > 1,
            looks=(looks or {}).get(name),
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
    suites: Suites, names: Sequence[str] = ARMS, *, first: int | None = None
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
        for arm, column in zip(names, part.scores, strict=True)
        for i, value in enumerate(column[:first].tolist())
    ]


def verdict(suites: Suites, *, goal_rule: str = "primary", attempt: int = 1) -> Verdict:
    """Return the verdict of a run that asks all cases."""
    manifest = manifest_of(suites, goal_rule=goal_rule, attempt=attempt)
    return decide_run(manifest, cases_of(suites), rows_of(suites)).verdict


def look_schedule(sizes: Sequence[int]) -> LookSchedule:
    """Return looks at a suite in the order of its cases, the last of which sees them all."""
    n = sizes[-1]
    shares = tuple(size / n for size in sizes)
    return LookSchedule(order=tuple(map(str, range(n))), sizes=tuple(sizes), shares=shares)


def looked_verdict(parts: Sequence[Gated], goal_rule: str, *, first: int = 50) -> Verdict:
    """Return the verdict of a run of one suite that ends as soon as a look decides it.

    Args:
        parts: Its gates and scores.
        goal_rule: Which goals it takes.
        first: Fewest cases of the first look.
    """
    plan = look_schedule(look_sizes(len(parts[0].scores[0]), first=first))
    suites = {"s": parts}
    manifest = manifest_of(suites, goal_rule=goal_rule, looks={"s": plan})
    found = Verdict.UNDECIDED
    for index, size in enumerate(plan.sizes):
        scores = rows_of(suites, first=size)
        look = {"s": InterimLook(plan, index)}
        found = decide_run(manifest, cases_of(suites), scores, looks=look).verdict
        if found is not Verdict.UNDECIDED:
            break
    return found


def _aligned(
    rng: np.random.Generator, first: Chances, second: Chances, *, together: bool
) -> tuple[Column, Column]:
    """Return two 0/1 metrics with such chances of a win and of a loss, as alike as they can be.

    Both read the same random number of a case: `together`, the losses of one are those of the
    other; else they are its wins.
    """
    chance = rng.random(CASES)
    other = (rng.random((2, CASES)) < 0.5).astype(float)
    found = []
    for index, (win, lose) in enumerate((first, second)):
        place = chance if together or not index else 1 - chance
        won, lost = place > 1 - win, place < lose
        base = np.where(won, 0.0, np.where(lost, 1.0, other[index]))
        found.append((base, np.where(won, 1.0, np.where(lost, 0.0, other[index]))))
    return found[0], found[1]


def _correlated() -> list[RunCell]:
    """Return false SHIPs where guardrails win and lose on the same cases as the goal."""

    def run(goal: Chances, guard: Chances, *, together: bool) -> Trial:
        def errs(rng: np.random.Generator) -> bool:
            first, second = _aligned(rng, goal, guard, together=together)
            parts = [
                gated("goal", "gain", 0.0, first, rules.ZERO_ONE),
                gated("guard", "tolerance", MARGIN, second, rules.ZERO_ONE),
            ]
            return verdict({"s": parts}) is Verdict.SHIP

        return errs

    def alike(rng: np.random.Generator) -> bool:
        """Judge guardrails of which each shares nine cases of ten with the others."""
        base, tuned = flips(rng, CASES, *WORSE)
        parts = [gated("goal", "gain", 0.0, flips(rng, CASES, *HIGH), rules.ZERO_ONE)]
        for i in range(5):
            again, other = rng.random(CASES) < 0.1, flips(rng, CASES, *WORSE)
            pair = np.where(again, other[0], base), np.where(again, other[1], tuned)
            parts.append(gated(f"guard{i}", "tolerance", MARGIN, pair, rules.ZERO_ONE))
        return verdict({"s": parts}) is Verdict.SHIP

    guard, same = "guardrail worse by its tolerance", "on the same cases"
    five = "false SHIP, 5 guardrails of nearly equal scores, all worse by their tolerance"
    return [
        RunCell(
            f"false SHIP, {guard}, losing where the goal loses", run(HIGH, WORSE, together=True)
        ),
        RunCell(
            f"false SHIP, {guard}, losing where the goal wins", run(HIGH, WORSE, together=False)
        ),
        RunCell(f"false SHIP, no gain, guardrail better {same}", run(NONE, FINE, together=True)),
        RunCell(f"false SHIP, no gain, {guard} {same}", run(NONE, WORSE, together=True)),
        RunCell(five, alike),
    ]


def _suites() -> list[RunCell]:
    """Return the errors of runs of three suites."""

    def one_without(rng: np.random.Generator) -> bool:
        suites = {
            f"s{i}": [gated("goal", "gain", 0.0, flips(rng, CASES, *chances), rules.ZERO_ONE)]
            for i, chances in enumerate((HIGH, HIGH, NONE))
        }
        return verdict(suites) is Verdict.SHIP

    def unchanged(rng: np.random.Generator) -> bool:
        suites = {
            f"s{i}": [
                gated("goal", "gain", 0.0, flips(rng, CASES, *NONE), rules.ZERO_ONE),
                gated("guard", "tolerance", 0.1, noise(rng, CASES), rules.UNBOUNDED),
            ]
            for i in range(3)
        }
        return verdict(suites) is Verdict.BLOCK

    return [
        RunCell("false SHIP, 3 suites, no gain in one of them", one_without),
        RunCell("false BLOCK, 3 suites of 2 unchanged metrics", unchanged),
    ]


def _looked() -> list[RunCell]:
    """Return false SHIPs of three goals with looks."""

    def run(goal_rule: str, means: Sequence[float]) -> Trial:
        def errs(rng: np.random.Generator) -> bool:
            parts = [
                gated(f"goal{i}", "gain", 0.0, noise(rng, LOOKED, mean), rules.UNBOUNDED)
                for i, mean in enumerate(means)
            ]
            return looked_verdict(parts, goal_rule) is Verdict.SHIP

        return errs

    def cell(goal_rule: str, means: Sequence[float], true: str) -> RunCell:
        what = f'false SHIP with looks, 3 goals, goal_rule = "{goal_rule}", {true}'
        return RunCell(what, run(goal_rule, means), n=LOOKED, part=16)

    return [
        cell("any", (0.0, 0.0, 0.0), "none of them true"),
        cell("all", (1.0, 1.0, 0.0), "2 of them true"),
    ]


def _tries(rng: np.random.Generator, count: int) -> list[Suites]:
    """Return runs of so many candidates of one base, none of them better than it."""
    base = (rng.random(CASES) < 0.6).astype(float)
    # A part of what changes does so in every candidate: fine-tunes on the same data are alike.
    shared = rng.random(CASES) < 0.15
    drawn = (rng.random(CASES) < 0.6).astype(float)
    found: list[Suites] = []
    for _ in range(count):
        own = (rng.random(CASES) < 0.6).astype(float)
        tuned = np.where(shared, drawn, np.where(rng.random(CASES) < 0.3, own, base))
        found.append({"s": [gated("goal", "gain", 0.0, (base, tuned), rules.ZERO_ONE)]})
    return found


def _candidates(count: int) -> list[RunCell]:
    """Return the chance that any of k candidates that gained nothing ships."""

    def alone(rng: np.random.Generator) -> bool:
        return any(verdict(run) is Verdict.SHIP for run in _tries(rng, count))

    def spent(rng: np.random.Generator) -> bool:
        tries = enumerate(_tries(rng, count), start=1)
        return any(verdict(run, attempt=number) is Verdict.SHIP for number, run in tries)

    def shared(rng: np.random.Generator) -> bool:
        return any(
            decide_run(shared_error(manifest_of(run), count), cases_of(run), rows_of(run)).verdict
            is Verdict.SHIP
            for run in _tries(rng, count)
        )

    what, part = f"any of {count} candidates ships, none has gained", 8 * count
    return [
        RunCell(
            f"{what}, each judged alone",
            alone,
            part=part,
            limit=1 - (1 - ALPHA) ** count,
            note="nothing is promised; the limit is that of independent candidates",
        ),
        RunCell(
            f"{what}, alpha_per_attempt",
            spent,
            part=part,
            limit=sum(ALPHA / k for k in range(1, count + 1)),
            note="promised is the sum of 5 %/k",
        ),
        RunCell(f"{what}, `tunegate compare`", shared, part=part),
    ]


def _arms() -> list[RunCell]:
    """Return the errors of what is said of a shipped artifact and of an incumbent."""

    def equivalent(draw: Draw, of: MetricRecord) -> Trial:
        return lambda rng: _is_equivalent(draw(rng), of)

    def beats(draw: Draw, of: MetricRecord) -> Trial:
        return lambda rng: _beats_incumbent(rng, draw(rng), of)

    def lost(rng: np.random.Generator) -> Column:
        return flips(rng, EQUIVALENT, 0.0, MARGIN)

    def won(rng: np.random.Generator) -> Column:
        return flips(rng, EQUIVALENT, MARGIN, 0.0)

    def moved(rng: np.random.Generator) -> Column:
        return flips(rng, EQUIVALENT, 0.02, 0.02 + MARGIN)

    def marks(rng: np.random.Generator) -> Column:
        base = rng.uniform(0.3, 0.7, CASES)
        return base, base + rng.uniform(-0.3, 0.2, CASES)

    shipped = "false EQUIVALENT, shipped differs by exactly the margin"
    today = "false SHIP, tuned worse than the incumbent by exactly the tolerance"
    bits, n = rules.ZERO_ONE, EQUIVALENT
    return [
        RunCell(f"{shipped}: 0/1, losses only", equivalent(lost, bits), n=n),
        RunCell(f"{shipped}: 0/1, wins only", equivalent(won, bits), n=n),
        RunCell(f"{shipped}: 0/1, worse", equivalent(moved, bits), n=n),
        RunCell(f"{shipped}: score, worse", equivalent(marks, rules.SCORE)),
        RunCell(f"{today}: 0/1", beats(moved, bits), n=n),
        RunCell(f"{today}: score", beats(marks, rules.SCORE)),
    ]


def _is_equivalent(scores: Column, of: MetricRecord) -> bool:
    """Return whether shipped is called equivalent to tuned."""
    tuned, shipped = scores
    # Tuned is as good as base: only its shipped form is in question.
    run = {"s": [gated("m", "tolerance", MARGIN, (tuned, tuned), of)]}
    further = {"s": [gated("m", "tolerance", MARGIN, (shipped,), of)]}
    manifest = manifest_of(run, arms=(*ARMS, SHIPPED))
    scored = [*rows_of(run), *rows_of(further, (SHIPPED,))]
    found = compare_shipped(manifest, cases_of(run), scored, ParityEvidence())
    return found.status is ParityStatus.EQUIVALENT


def _beats_incumbent(rng: np.random.Generator, scores: Column, of: MetricRecord) -> bool:
    """Return whether a run ships whose tuned arm is far better than base in everything."""
    today, tuned = scores
    n = len(tuned)
    worse = tuned * (rng.random(n) < 0.5) if of.binary else np.maximum(tuned - 0.3, 0.0)
    goal = flips(rng, n, *HIGH)
    run = {
        "s": [
            gated("goal", "gain", 0.0, goal, rules.ZERO_ONE),
            gated("guard", "tolerance", MARGIN, (worse, tuned), of),
        ]
    }
    further = {
        "s": [
            gated("goal", "gain", 0.0, (goal[1],), rules.ZERO_ONE),
            gated("guard", "tolerance", MARGIN, (today,), of),
        ]
    }
    manifest, cases = manifest_of(run, arms=(*ARMS, INCUMBENT)), cases_of(run)
    scored = [*rows_of(run), *rows_of(further, (INCUMBENT,))]
    if compare_incumbent(manifest, cases, scored).verdict is not Verdict.SHIP:
        return False
    return decide_run(manifest, cases, scored).verdict is Verdict.SHIP
