"""Scores that are not 0 or 1: simulated error rates at both ends of the interval.

`lower` is the end that ships: the rate at which a difference is called greater than it is.
`upper` is the end that alarms: the same with the arms exchanged. Differences of the scenarios are
around a known mean, and the margin is put exactly there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import rules
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.comparison.delta import Delta
from tunegate.harness.comparison.estimator import LEAST_UNBOUNDED
from tunegate.harness.records.manifest import MetricRecord

Floats = NDArray[np.float64]
Columns = tuple[Floats, Floats]

CONFIDENCE = 0.90
SIZES = (10, 20, 50, 100, 200)
MOST_FAST = 50
UNBOUNDED_SIZES = (LEAST_UNBOUNDED, 2 * LEAST_UNBOUNDED)


@dataclass(frozen=True, slots=True)
class ContinuousScenario:
    """A population of pairs whose mean difference is known."""

    name: str
    metric: MetricRecord
    truth: float
    """Mean of tuned − base."""
    draw: Callable[[np.random.Generator, int], Columns]
    """(generator, n) → scores of base and tuned."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of cases with which a gate counts: many, where the scores have no range."""
        return UNBOUNDED_SIZES if self.metric.bound is None else SIZES


def _normal(rng: np.random.Generator, n: int) -> Columns:
    return np.zeros(n), rng.normal(0, 1, n)


def _likert(rng: np.random.Generator, n: int) -> Columns:
    """Five steps; a case's difficulty is shared, each arm errs by a step up or down."""
    middle = rng.integers(1, 4, n)
    base, tuned = middle + rng.integers(-1, 2, (2, n))
    return base / 4, tuned / 4


def _saturated(rng: np.random.Generator, n: int) -> Columns:
    base, tuned = np.where(rng.random((2, n)) < 0.93, 1.0, rng.uniform(0, 1, (2, n)))
    return base, tuned


def _rare_drops(rng: np.random.Generator, n: int) -> Columns:
    kind = rng.random(n)
    gain, loss = rng.uniform(0, 0.2, n), rng.uniform(-1, -0.4, n)
    base = np.where(kind < 0.08, 1.0, 0.5)
    return base, base + np.where(kind < 0.08, loss, np.where(kind < 0.7, gain, 0.0))


def _t3(rng: np.random.Generator, n: int) -> Columns:
    return np.zeros(n), rng.standard_t(3, n)


def _lognormal(rng: np.random.Generator, n: int) -> Columns:
    return np.zeros(n), rng.lognormal(0, 1, n)


SCENARIOS = (
    ContinuousScenario("normal, unbounded", rules.UNBOUNDED, 0.0, _normal),
    ContinuousScenario("five-step scale", rules.SCORE, 0.0, _likert),
    ContinuousScenario("saturated judge", rules.SCORE, 0.0, _saturated),
    ContinuousScenario("rare big drops", rules.SCORE, 0.62 * 0.1 - 0.08 * 0.7, _rare_drops),
    ContinuousScenario("t with 3 df, unbounded", rules.UNBOUNDED, 0.0, _t3),
    ContinuousScenario("lognormal, unbounded", rules.UNBOUNDED, float(np.exp(0.5)), _lognormal),
)


def rows(settings: Settings) -> list[Row]:
    """Return both error rates of every scenario and number of cases."""
    table = []
    for scenario in SCENARIOS:
        sizes = tuple(n for n in scenario.sizes if n <= MOST_FAST) or scenario.sizes[:1]
        for n in sizes if settings.fast else scenario.sizes:
            rng = settings.rng(f"continuous {scenario.name} {n}")
            wrong = {"lower": 0, "upper": 0}
            for _ in range(settings.reps):
                base, tuned = (column.tolist() for column in scenario.draw(rng, n))
                for end in wrong_ends(base, tuned, scenario, CONFIDENCE):
                    wrong[end] += 1
            for end, hits in wrong.items():
                rate, error = simulated(hits, settings.reps)
                table.append(Row("continuous", f"{scenario.name}, {end} end", str(n), rate, error))
    return table


def wrong_ends(
    base: list[float], tuned: list[float], scenario: ContinuousScenario, confidence: float
) -> list[str]:
    """Return at which ends a sample is taken to prove what is not so."""
    truth = scenario.truth
    pairs = rules.pairs_of(base, tuned, scenario.metric)
    ends = ["lower"] if rules.gate(pairs, truth, confidence) else []
    # The interval is that of the exchanged arms mirrored: most samples need no second one.
    if Delta(pairs, confidence).oriented.high >= truth:
        return ends
    exchanged = rules.pairs_of(tuned, base, scenario.metric)
    return [*ends, "upper"] if rules.gate(exchanged, -truth, confidence) else ends
