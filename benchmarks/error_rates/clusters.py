"""Cases that belong together: simulated error rates with few and more clusters.

Any two differences of a cluster correlate by `icc`. Where wins and losses, or scores, are drawn
around zero, each case takes its cluster's difference with probability √icc and one of its own
otherwise; where only losses or failures happen, each cluster has a rate of its own: from a beta
distribution, or as an adversary would have it, 1 in a few clusters and a small one in all others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import rules
from benchmarks.error_rates.table import ALPHA, Row, Settings, simulated
from tunegate.harness.comparison.mean_level import rate_interval
from tunegate.harness.decision.verdict.notes import COMFORTABLE_CLUSTERS
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.stats.unit_means import guarded_units

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Draw = Callable[[np.random.Generator, Ints, float], Floats]

CONFIDENCE = 0.90
CLUSTERS = (10, 20, 40, 100)
UNEVEN = (1, 2, 5, 12)
"""Sizes of clusters, repeated."""
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
    counts: tuple[int, ...] = CLUSTERS
    """Numbers of clusters."""


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


def failures(share: float, *, adversary: bool = False) -> Draw:
    """Return a draw of cases that fail, -1 each, with a mean share over clusters.

    Args:
        share: The share of all cases.
        adversary: Whether `icc` is the part of it that fails in whole clusters.
    """

    def draw(rng: np.random.Generator, labels: Ints, icc: float) -> Floats:
        count = int(labels.max()) + 1
        if adversary:
            whole = icc * share
            rates = np.where(rng.random(count) < whole, 1.0, (share - whole) / (1 - whole))
        elif icc >= 1:
            rates = (rng.random(count) < share).astype(np.float64)
        else:
            total = 1 / icc - 1
            rates = rng.beta(share * total, (1 - share) * total, count)
        return -(rng.random(labels.size) < rates[labels]).astype(np.float64)

    return draw


def _wins(rng: np.random.Generator, labels: Ints, icc: float) -> Floats:
    return -failures(LOSSES)(rng, labels, icc)


def _large(rng: np.random.Generator, labels: Ints, icc: float) -> Floats:
    """Return cases that are lost in whole clusters of the largest size, `LOSSES` of all cases."""
    sizes = np.bincount(labels)
    largest = sizes == sizes.max()
    share = LOSSES * labels.size / (largest.sum() * sizes.max())
    lost: Floats = (largest & (rng.random(sizes.size) < share)).astype(np.float64)
    return -lost[labels]


def _large_scores(rng: np.random.Generator, labels: Ints, icc: float) -> Floats:
    lost = _large(rng, labels, icc)
    return np.where(lost < 0, lost, rng.uniform(-0.01, 0.01, labels.size))


def _won_beside(share: float) -> Draw:
    """Return a draw of single cases that are won, and of clusters that are lost as a whole."""

    def draw(rng: np.random.Generator, labels: Ints, icc: float) -> Floats:
        gone = rng.random(int(labels.max()) + 1) < (share + LOSSES) / (1 + share)
        return np.where(gone[labels], -1.0, rng.random(labels.size) < share)

    return draw


_LARGER = (2, 1, 1, 1)
"""Sizes of clusters, a quarter of them twice as large."""
_FLIPS = ("0/1, gain 0, 30 % discordant", rules.ZERO_ONE, _mixed(_even))
_LOSING = ("0/1, tolerance .05, losses only", rules.ZERO_ONE, failures(LOSSES))
_WHOLE = ("0/1, tolerance .05, lost in whole", rules.ZERO_ONE, failures(LOSSES, adversary=True))
SCENARIOS = (
    Scenario("score, unbounded", rules.UNBOUNDED, _mixed(_normal)),
    Scenario("score, unbounded, uneven clusters", rules.UNBOUNDED, _mixed(_normal), sizes=UNEVEN),
    Scenario("score in [0, 1]", rules.SCORE, _mixed(_score)),
    *(Scenario(*_FLIPS, icc=icc) for icc in (0.1, 0.3, 0.6, 1.0)),
    *(Scenario(*_FLIPS, icc=icc, sizes=UNEVEN) for icc in (0.3, 1.0)),
    *(
        Scenario("0/1, gain .05, wins only", rules.ZERO_ONE, _wins, truth=LOSSES, icc=icc)
        for icc in (0.1, 0.3, 0.6, 1.0)
    ),
    *(
        Scenario(*_LOSING, truth=-LOSSES, icc=icc, counts=(10, 40, 100))
        for icc in (0.1, 0.3, 0.6, 1.0)
    ),
    Scenario(*_LOSING, truth=-LOSSES, icc=0.6, sizes=(10,), counts=(100,)),
    Scenario(*_LOSING, truth=-LOSSES, sizes=UNEVEN, counts=(100, 200)),
    *(
        Scenario(*_WHOLE, truth=-LOSSES, icc=icc, sizes=(20,), counts=(40, 100))
        for icc in (0.2, 0.5)
    ),
    *(
        Scenario(
            f"{name}, tolerance .05, only large ones lost",
            metric,
            draw,
            truth=-LOSSES,
            icc=1.0,
            sizes=_LARGER,
            counts=(60, 68, 96),
        )
        for name, metric, draw in (
            ("0/1", rules.ZERO_ONE, _large),
            ("score in [0, 1]", rules.SCORE, _large_scores),
        )
    ),
    *(
        Scenario(
            f"0/1, tolerance .05, lost in whole, {share:g} won",
            rules.ZERO_ONE,
            _won_beside(share),
            truth=-LOSSES,
            icc=1.0,
            sizes=(10,),
            counts=(12, 20, 40),
        )
        for share in (0.05, 0.1)
    ),
)


def rows(settings: Settings) -> list[Row]:
    """Return the rate of false proof with clusters."""
    return [
        *(
            _row(scenario, count, settings)
            for scenario in SCENARIOS
            for count in _counts(scenario, settings)
        ),
        *_levels(settings),
    ]


def _counts(scenario: Scenario, settings: Settings) -> tuple[int, ...]:
    return scenario.counts[:1] if settings.fast else scenario.counts


def labels_of(count: int, sizes: Sequence[int]) -> list[str]:
    """Return the cluster of each case, of `count` clusters whose sizes repeat."""
    repeated = [sizes[g % len(sizes)] for g in range(count)]
    return [str(g) for g, size in enumerate(repeated) for _ in range(size)]


def _row(scenario: Scenario, count: int, settings: Settings) -> Row:
    labels = labels_of(count, scenario.sizes)
    rng = settings.rng(f"clusters {scenario.name} {scenario.icc} {labels}")
    reps = _reps(settings)
    hits = sum(_proven(scenario, labels, rng) for _ in range(reps))
    note = "note: few clusters" if count < COMFORTABLE_CLUSTERS else ""
    return _cell(scenario, count, simulated(hits, reps), note=note)


def _cell(
    scenario: Scenario, count: int, rate: tuple[float, float], what: str = "", **more: str | float
) -> Row:
    names = {UNEVEN: "uneven", _LARGER: "1-2", (scenario.sizes[0],): str(scenario.sizes[0])}
    sizes = names.get(scenario.sizes, "1")
    name = f"{what}{scenario.name}, icc {scenario.icc:g}"
    return Row("clusters", name, f"{count}x{sizes}", *rate, **more)  # type: ignore[arg-type]


def _drawn(
    scenario: Scenario, labels: Sequence[str], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return base's and tuned's scores."""
    differences = scenario.draw(rng, np.array(labels, dtype=np.int64), scenario.icc)
    base = np.maximum(-differences, 0.0)
    return base, base + differences


def _proven(scenario: Scenario, labels: list[str], rng: np.random.Generator) -> bool:
    base, tuned = _drawn(scenario, labels, rng)
    pairs = rules.pairs_of(base.tolist(), tuned.tolist(), scenario.metric, labels)
    # Asked first: the interval is an inversion of the test, and takes ten times as long.
    unlikely = pairs.test(scenario.truth).p_value <= ALPHA
    return unlikely and rules.gate(pairs, scenario.truth, CONFIDENCE)


LEVELS = (
    (0.8, 20, (20,)),
    (0.8, 100, UNEVEN),
    (0.9, 40, (20,)),
    (0.95, 100, (5,)),
)
"""(floor, clusters, their sizes)."""
SPREADS = ((0.1, False), (0.3, False), (0.6, False), (1.0, False), (0.5, True))
"""(icc, or share that fails in whole clusters; whether it is the latter)."""


def _levels(settings: Settings) -> Iterator[Row]:
    """Yield how often a floor is certified whose level is exactly at it, and the power beyond."""
    levels = LEVELS[:1] if settings.fast else LEVELS
    for (floor, count, sizes), (icc, adversary) in product(levels, SPREADS):
        scenario = Scenario(
            f"certified floor {floor:g}{', failing in whole' if adversary else ''}",
            rules.ZERO_ONE,
            failures(1 - floor, adversary=adversary),
            icc=icc,
            sizes=sizes,
        )
        yield _level_row(scenario, count, floor, settings)
    for count in (68, 96):
        name = "certified floor 0.95, only large ones fail"
        scenario = Scenario(name, rules.ZERO_ONE, _large, icc=1.0, sizes=_LARGER)
        yield _level_row(scenario, count, 1 - LOSSES, settings)


def _level_row(scenario: Scenario, count: int, floor: float, settings: Settings) -> Row:
    rng = settings.rng(f"cluster floors {scenario.name} {count} {scenario.sizes} {scenario.icc}")
    labels = labels_of(count, scenario.sizes)
    reps = max(30, settings.reps // 20)
    hits = sum(_certified(scenario, labels, floor, rng) for _ in range(reps))
    return _cell(scenario, count, simulated(hits, reps))


def _certified(
    scenario: Scenario, labels: list[str], floor: float, rng: np.random.Generator
) -> bool:
    right = 1 + scenario.draw(rng, np.array(labels, dtype=np.int64), scenario.icc)
    # The unseen cluster alone moves the mean so far down, and the limit is below that.
    unseen = right.size / guarded_units(Counter(labels).values())
    if right.sum() / (right.size + unseen) < floor:
        return False
    interval = rate_interval([round(value) for value in right], labels, CONFIDENCE)
    return interval.low >= floor


def _reps(settings: Settings) -> int:
    """Return fewer repetitions than where a sample is a few counts."""
    return max(30, settings.reps // 5)
