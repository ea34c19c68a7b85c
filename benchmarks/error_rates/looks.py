"""Looking before the end: exact and simulated error rates of group-sequential runs.

Looks are `look_sizes`, bounds `efficacy_bounds` with Kim and DeMets' spending; at each look the
gate's own rule is asked at the `repeated_confidence` of that look's bound. For 0/1 scores the
distribution of wins and losses among the runs still going is carried from look to look exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import binary, continuous
from benchmarks.error_rates.table import ALPHA, Row, Settings, simulated
from tunegate.harness.comparison.estimator import LEAST_UNBOUNDED
from tunegate.harness.stats.group_sequential import efficacy_bounds, look_sizes, repeated_confidence

SIZES = (50, 100, 200)
FIRST_CONTINUOUS = 50
"""Fewest cases at the first look of a continuous score."""
SCENARIOS = ("saturated judge", "rare big drops", "t with 3 df, unbounded", "lognormal, unbounded")


@dataclass(frozen=True, slots=True)
class LookPlan:
    """The looks of one binary comparison, and what each of them would call proven."""

    sizes: tuple[int, ...]
    proofs: tuple[binary.Flags, ...]
    """Look → samples, as [losses, wins], that end the run."""

    @property
    def n(self) -> int:
        """Cases at the last look."""
        return self.sizes[-1]


def rows(settings: Settings) -> list[Row]:
    """Return the error of looking."""
    sizes = SIZES[:2] if settings.fast else SIZES
    table = []
    for margin, name in binary.MARGINS.items():
        for n in sizes:
            looks = plan(n, margin)
            rate, share = binary.worst(
                partial(ever, looks, margin),
                max(abs(margin), 1e-9),
                step=0.05 if settings.fast else 0.02,
            )
            what = f"0/1, {name}, true difference {margin:+g}, {len(looks.sizes)} looks"
            note = f"worst with {100 * share:.3g} % discordant"
            table.append(Row("looks", what, str(n), rate, note=note))
    return [*table, *_continuous(settings)]


@cache
def confidences(sizes: tuple[int, ...]) -> tuple[float, ...]:
    """Return the two-sided confidence of each look."""
    bounds = efficacy_bounds([size / sizes[-1] for size in sizes], alpha=ALPHA)
    return tuple(repeated_confidence(float(bound)) for bound in bounds)


def plan(n: int, margin: float) -> LookPlan:
    """Return the looks of `n` planned cases and what each would call proven."""
    sizes = tuple(look_sizes(n))
    tables = tuple(
        binary.proofs(size, margin, confidence)
        for size, confidence in zip(sizes, confidences(sizes), strict=True)
    )
    return LookPlan(sizes, tables)


def stops(looks: LookPlan, difference: float, share: float) -> NDArray[np.float64]:
    """Return the probability that the margin is proven at each look, and not before."""
    alive = np.zeros((looks.n + 1, looks.n + 1))
    alive[0, 0] = 1.0
    chances, before = [], 0
    for size, table in zip(looks.sizes, looks.proofs, strict=True):
        alive = _grown(alive, binary.trinomial(size - before, difference, share))
        part = alive[: size + 1, : size + 1]
        chances.append(float(part[table].sum()))
        part[table] = 0.0
        before = size
    return np.array(chances)


def ever(looks: LookPlan, difference: float, share: float) -> float:
    """Return the probability that the margin is proven at any look."""
    return float(stops(looks, difference, share).sum())


def _grown(alive: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distribution of [losses, wins] after a further step: a convolution."""
    width = alive.shape[0]
    room = width + step.shape[0]
    product = np.fft.rfft2(alive, (room, room)) * np.fft.rfft2(step, (room, room))
    return np.asarray(np.maximum(np.fft.irfft2(product, (room, room))[:width, :width], 0.0))


def mean_share(looks: LookPlan, difference: float, share: float) -> float:
    """Return the mean share of the planned cases that are used."""
    chances = stops(looks, difference, share)
    return float(chances @ np.array(looks.sizes)) / looks.n + 1 - float(chances.sum())


def _continuous(settings: Settings) -> list[Row]:
    table = []
    for scenario in continuous.SCENARIOS:
        if scenario.name not in SCENARIOS:
            continue
        # Scores without a range are not looked at before a gate on them counts.
        bounded = scenario.metric.bound is not None
        first = FIRST_CONTINUOUS if bounded else LEAST_UNBOUNDED
        sizes = SIZES[1:] if bounded else (2 * LEAST_UNBOUNDED,)
        for n in sizes[:1] if settings.fast else sizes:
            looks = look_sizes(n, first=first)
            rng = settings.rng(f"looks {scenario.name} {n}")
            wrong = {"lower": 0, "upper": 0}
            for _ in range(settings.reps):
                for end in _ever_wrong(scenario, looks, rng):
                    wrong[end] += 1
            for end, hits in wrong.items():
                rate, error = simulated(hits, settings.reps)
                what = f"{scenario.name}, {end} end, {len(looks)} looks"
                table.append(Row("looks", what, str(n), rate, error))
    return table


def _ever_wrong(
    scenario: continuous.ContinuousScenario, looks: list[int], rng: np.random.Generator
) -> set[str]:
    base, tuned = (column.tolist() for column in scenario.draw(rng, looks[-1]))
    wrong: set[str] = set()
    for size, confidence in zip(looks, confidences(tuple(looks)), strict=True):
        wrong |= set(continuous.wrong_ends(base[:size], tuned[:size], scenario, confidence))
    return wrong
