"""Whole runs: false SHIPs and false alarms when many gates are judged together.

Each run is a manifest and its scores, decided by `tunegate.harness.verdict.decide`. Gates that are
not in question are given true effects far beyond their bounds, the worst case for the one that is.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import rules
from benchmarks.error_rates.table import ALPHA, Row, Settings, simulated
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.gating.decide_all import decide_gate
from tunegate.harness.gating.error_control import ProvenRegressions
from tunegate.harness.records.cases import Case, ScoreRow
from tunegate.harness.records.manifest import Gate, Manifest, MetricRecord, SuiteRecord
from tunegate.harness.records.verdict import GateReason, Verdict
from tunegate.harness.verdict.decide import decide_run

TOLERANCE = 0.05
CASES = 100
GUARDRAILS = (1, 5, 10)
UNCHANGED = (5, 10, 20)
SUITE = "s"

Column = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Gated:
    """One metric of a run: its gate, and the scores that a run of it shows."""

    metric: MetricRecord
    gate: Gate
    scores: tuple[NDArray[np.float64], ...]
    """Base's and tuned's, and base's asked again where there are three; NaN is unscored. In other
    runs those of other arms."""


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of whole runs."""
    # statsmodels collects garbage in each Holm adjustment: nine tenths of the time.
    with mock.patch.object(gc, "collect", return_value=0):
        return [*_guardrails(settings), *_alarms(settings), *_goals(settings)]


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


def verdict(
    suite: Sequence[Gated],
    goal_rule: str = "primary",
    *,
    attempt: int = 1,
    clusters: Sequence[str] | None = None,
    **changes: object,
) -> Verdict:
    """Return the verdict of one run.

    Args:
        suite: Its metrics and gates.
        goal_rule: Which of the goals must be reached.
        attempt: Which candidate of the suite it judges.
        clusters: The cluster of each case; None where all are independent.
        **changes: Fields of the suite's record.
    """
    n = len(suite[0].scores[0])
    record = SuiteRecord(
        name=SUITE,
        path="suites/s/suite.toml",
        hash="s",
        n_cases=n,
        goal_rule=goal_rule,
        max_unscored=0.05,
        metrics=tuple(part.metric for part in suite),
        gates=tuple(part.gate for part in suite),
        generation={},
    ).model_copy(update=changes)
    names: Sequence[str | None] = clusters or [None] * n
    cases = [Case(id=str(i), prompt="p", cluster=name) for i, name in enumerate(names)]
    run = manifest([record]).model_copy(update={"attempts": {record.hash: attempt}})
    return decide_run(run, {SUITE: cases}, [row for part in suite for row in _rows(part)]).verdict


def manifest(suites: Sequence[SuiteRecord]) -> Manifest:
    """Return the manifest of a run on the suites."""
    return Manifest(
        run_id="r",
        created="2026-01-01T00:00:00+00:00",
        command=(),
        arms={"base": {}, "tuned": {}},
        suites=tuple(suites),
        seed=0,
        plan=(),
        versions={},
        comparability={},
        liveness={},
        attempts={},
    )


def _rows(part: Gated) -> list[ScoreRow]:
    return [
        ScoreRow(
            suite=SUITE,
            metric=part.metric.name,
            case=str(i),
            arm=arm,
            value=None if math.isnan(value) else value,
        )
        for arm, column in zip(("base", "tuned", "base_again"), part.scores, strict=False)
        for i, value in enumerate(column.tolist())
    ]


def _gated(name: str, kind: str, margin: float, scores: Column, of: MetricRecord) -> Gated:
    metric = of.model_copy(update={"name": name, "use": name})
    return Gated(metric, Gate(metric=name, kind=kind, margin=margin), scores)


def _goal(rng: np.random.Generator) -> Gated:
    """Return a goal that is far exceeded."""
    scores = flips(rng, CASES, 0.5, 0.05)
    return _gated("goal", "gain", 0.0, scores, rules.ZERO_ONE)


def _guardrail(rng: np.random.Generator, name: str) -> Gated:
    """Return a guardrail that holds with room to spare."""
    scores = flips(rng, CASES, 0.15, 0.01)
    return _gated(name, "tolerance", TOLERANCE, scores, rules.ZERO_ONE)


def _broken(rng: np.random.Generator, kind: str) -> Gated:
    """Return a guardrail whose metric is worse by exactly its tolerance."""
    if kind == "0/1":
        scores, of = flips(rng, CASES, 0.05, 0.05 + TOLERANCE), rules.ZERO_ONE
    else:
        base = rng.uniform(0.4, 0.8, CASES)
        scores = base, base + rng.uniform(-0.3, 0.2, CASES) * 0.8 - (TOLERANCE - 0.04)
        of = rules.SCORE
    return _gated("broken", "tolerance", TOLERANCE, scores, of)


def _guardrails(settings: Settings) -> list[Row]:
    numbers = GUARDRAILS[:2] if settings.fast else GUARDRAILS
    found = []
    for kind in ("0/1", "score"):
        for count in numbers:
            rng = settings.rng(f"guardrails {kind} {count}")
            reps = _reps(settings)
            shipped = 0
            for _ in range(reps):
                others = [_guardrail(rng, f"guard{i}") for i in range(count - 1)]
                run = [_goal(rng), _broken(rng, kind), *others]
                shipped += verdict(run) is Verdict.SHIP
            plural = "guardrail" if count == 1 else "guardrails"
            what = f"false SHIP, {count} {plural}, one ({kind}) worse by its tolerance"
            found.append(Row("runs", what, str(CASES), *simulated(shipped, reps)))
    return found


def _alarms(settings: Settings) -> list[Row]:
    numbers = UNCHANGED[:2] if settings.fast else UNCHANGED
    found = []
    for count in numbers:
        rng = settings.rng(f"alarms {count}")
        reps = _reps(settings)
        alarms = sum(_alarm(rng, count) for _ in range(reps))
        what = f"false REGRESSED in a run of {count} unchanged metrics (Holm)"
        found.append(Row("runs", what, str(CASES), *simulated(alarms, reps)))
    return found


def _alarm(rng: np.random.Generator, count: int) -> bool:
    """Return whether any of the metrics, half of them 0/1, is claimed to have regressed."""
    family: dict[tuple[str, str], Pairs] = {}
    for i in range(count):
        scores, of = (
            (flips(rng, CASES, 0.15, 0.15), rules.ZERO_ONE)
            if i % 2
            else (noise(rng, CASES), rules.UNBOUNDED)
        )
        base, tuned = (column.tolist() for column in scores)
        family[SUITE, str(i)] = rules.pairs_of(base, tuned, of)
    alarms = ProvenRegressions(family, looks={})
    return any(
        decide_gate(_no_gain(name), pairs, regressed=alarms.proven(suite, name, ALPHA)).reason
        is GateReason.REGRESSED
        for (suite, name), pairs in family.items()
    )


def _no_gain(name: str) -> Gate:
    return Gate(metric=name, kind="gain", margin=0.0)


def _goals(settings: Settings) -> list[Row]:
    found = []
    for goal_rule, true in (("primary", 0), ("all", 0), ("all", 2), ("any", 0)):
        rng = settings.rng(f"goals {goal_rule} {true}")
        reps = _reps(settings)
        shipped = 0
        for _ in range(reps):
            means = [1.0] * true + [0.0] * (3 - true)
            goals = [
                _gated(f"goal{i}", "gain", 0.0, noise(rng, CASES, mean), rules.UNBOUNDED)
                for i, mean in enumerate(means)
            ]
            run = [*goals, _guardrail(rng, "guard")]
            shipped += verdict(run, goal_rule) is Verdict.SHIP
        absent = "none of them true" if not true else f"{true} of them true"
        what = f'false SHIP, 3 goals, goal_rule = "{goal_rule}", {absent}'
        found.append(Row("runs", what, str(CASES), *simulated(shipped, reps)))
    return found


def _reps(settings: Settings) -> int:
    """Return fewer repetitions than for single metrics: a run is many of them."""
    return max(30, settings.reps // 5)
