"""Cases that belong together: simulated error rates with few and more clusters.

Any two differences of a cluster correlate by `icc`. Where wins and losses, or scores, are drawn
around zero, each case takes its cluster's difference with probability √icc and one of its own
otherwise; where only losses happen, each cluster has a rate of its own from a beta distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import rules
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.verdict.notes import COMFORTABLE_CLUSTERS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Draw = Callable[[np.random.Generator, Ints, float], Floats]

CONFIDENCE = 0.90
CLUSTERS = (10, 20, 40)
UNEVEN = (1, 2, 5, 12)
"""Sizes of clusters, repeated."""
FEW = {10: 0.07}
"""Ten clusters are listed with .07, and the user is told that they are few."""
LOSSES = 0.05
"""Share of losses, and the tolerance, where losses alone happen."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Clustered differences around a known mean."""

    name: str
    metric: MetricRecord
    draw: Draw
    """(generator, labels, icc) → differences tuned − base."""
    truth: float = 0.0
    icc: float = 0.3
    sizes: tuple[int, ...] = (5,)
    listed: dict[int, float] = field(default_factory=lambda: FEW)
    """Clusters → the rate listed as worse."""


def _mixed(single: Callable[[np.random.Generator, int], Floats]) -> Draw:
    """Return a draw in which cases share their cluster's difference, or not."""

    def draw(rng: np.random.Generator, labels: Ints, icc: float) -> Floats:
        shared = single(rng, int(labels.max()) + 1)[labels]
        own = single(rng, labels.size)
        return np.where(rng.random(labels.size) < np.sqrt(icc), shared, own)

    return draw


def _normal(rng: np.random.Generator, count: int) -> Floats:
    return rng.normal(0, 1, count)


def _score(rng: np.random.Generator, count: int) -> Floats:
    return np.asarray(np.subtract(*rng.uniform(0, 1, (2, count))))


def _even(rng: np.random.Generator, count: int) -> Floats:
    return rng.choice([-1.0, 0.0, 1.0], count, p=[0.15, 0.7, 0.15])


def _losses(rng: np.random.Generator, labels: Ints, icc: float) -> Floats:
    total = 1 / icc - 1
    rates = rng.beta(LOSSES * total, (1 - LOSSES) * total, int(labels.max()) + 1)
    return -(rng.random(labels.size) < rates[labels]).astype(np.float64)


_LOSING = Scenario("0/1, tolerance .05, losses only", rules.ZERO_ONE, _losses, truth=-LOSSES)
SCENARIOS = (
    Scenario("score, unbounded", rules.UNBOUNDED, _mixed(_normal)),
    Scenario("score, unbounded, uneven clusters", rules.UNBOUNDED, _mixed(_normal), sizes=UNEVEN),
    Scenario("score in [0, 1]", rules.SCORE, _mixed(_score)),
    Scenario("0/1, gain 0, 30 % discordant", rules.ZERO_ONE, _mixed(_even)),
    Scenario("0/1, gain 0, uneven clusters", rules.ZERO_ONE, _mixed(_even), sizes=UNEVEN),
    _LOSING,
    replace(_LOSING, sizes=(10,)),
    replace(
        _LOSING,
        name=f"{_LOSING.name}, icc .6",
        icc=0.6,
        listed={10: 0.09, 20: 0.09, 40: 0.09},
    ),
)


def rows(settings: Settings) -> list[Row]:
    """Return the rate of false proof for every scenario and number of clusters."""
    numbers = CLUSTERS[:2] if settings.fast else CLUSTERS
    return [_row(scenario, count, settings) for scenario in SCENARIOS for count in numbers]


def _row(scenario: Scenario, count: int, settings: Settings) -> Row:
    labels = [str(g) for g in range(count) for _ in range(scenario.sizes[g % len(scenario.sizes)])]
    rng = settings.rng(f"clusters {scenario.name} {labels}")
    hits = sum(_wrong(scenario, labels, rng) for _ in range(settings.reps))
    rate, error = simulated(hits, settings.reps)
    size = len(labels) / count
    listed = scenario.listed.get(count)
    note = "no flag is shown" if listed else ""
    if count < COMFORTABLE_CLUSTERS:
        note = "note: few clusters"
    name = scenario.name
    return Row("clusters", name, f"{count}x{size:g}", rate, error, listed=listed, note=note)


def _wrong(scenario: Scenario, labels: list[str], rng: np.random.Generator) -> bool:
    differences = scenario.draw(rng, np.array(labels, dtype=np.int64), scenario.icc)
    base = np.maximum(-differences, 0.0)
    pairs = rules.pairs_of(base.tolist(), (base + differences).tolist(), scenario.metric, labels)
    return rules.gate(pairs, scenario.truth, CONFIDENCE)
