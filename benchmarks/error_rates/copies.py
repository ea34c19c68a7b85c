"""Prompts that occur more than once: simulated error rates of the mean score of their copies.

A share of the prompts occurs twice. The truth is the mean over prompts; losses happen on any of
them, on those that occur twice alone, or on the others alone. Each copy has a score of its own:
where copies agree, the pairs are those of a suite without any, whose rates are exact (`binary`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import rules
from benchmarks.error_rates.table import ALPHA, Row, Settings, simulated
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.records.cases import Case
from tunegate.harness.records.manifest import SuiteRecord
from tunegate.harness.records.scores import ScoreRow

Floats = NDArray[np.float64]
Copies = Sequence[Floats]
"""The differences of each prompt's copies."""

CONFIDENCE = 0.90
LOSSES = 0.05
"""Share of lost prompts, and the tolerance."""
PROMPTS = (100, 400)
SHARES = (0.1, 0.3)
"""Share of the prompts that occur twice."""
LOST = ("any prompt", "copied ones", "single ones")


def rows(settings: Settings) -> list[Row]:
    """Return how often a tolerance, a certified floor and a gain at their margin are proven."""
    sizes = PROMPTS[:1] if settings.fast else PROMPTS
    return [
        row
        for prompts, share in product(sizes, SHARES)
        for row in (
            *(row for lost in LOST for row in _losses(lost, share, prompts, settings)),
            _flips(share, prompts, settings),
        )
    ]


def _losses(lost: str, share: float, prompts: int, settings: Settings) -> Iterator[Row]:
    def draw(rng: np.random.Generator) -> Copies:
        twice = rng.random(prompts) < share
        rates = {
            "any prompt": np.full(prompts, LOSSES),
            "copied ones": twice * LOSSES / share,
            "single ones": ~twice * LOSSES / (1 - share),
        }[lost]
        return [
            -(rng.random(1 + t) < rate).astype(float) for t, rate in zip(twice, rates, strict=True)
        ]

    def certified(copies: Copies) -> bool:
        if np.mean([of.mean() for of in copies]) < -LOSSES:
            return False
        level = pairs_of([1 + of for of in copies]).estimator.level(CONFIDENCE)
        return level.low >= 1 - LOSSES

    words = f"{lost} lost, {share:g} copied"
    for what, proven in (
        ("tolerance .05", lambda copies: _proven(copies, -LOSSES)),
        ("certified floor .95", certified),
    ):
        yield _row(f"{what}, {words}", prompts, draw, proven, settings)


def _flips(share: float, prompts: int, settings: Settings) -> Row:
    def draw(rng: np.random.Generator) -> Copies:
        sizes = 1 + (rng.random(prompts) < share)
        return [rng.choice((-1.0, 0.0, 1.0), size, p=(0.15, 0.7, 0.15)) for size in sizes]

    name = f"gain 0, 30 % discordant, {share:g} copied"
    return _row(name, prompts, draw, lambda copies: _proven(copies, 0.0), settings)


def _row(
    name: str,
    prompts: int,
    draw: Callable[[np.random.Generator], Copies],
    proven: Callable[[Copies], bool],
    settings: Settings,
) -> Row:
    rng, reps = settings.rng(f"copies {name} {prompts}"), max(30, settings.reps // 20)
    return Row(
        "copies", name, str(prompts), *simulated(sum(proven(draw(rng)) for _ in range(reps)), reps)
    )


def _proven(copies: Copies, margin: float) -> bool:
    if np.mean([of.mean() for of in copies]) <= margin:
        return False
    pairs = pairs_of(copies)
    # Asked first: the interval is an inversion of the test, and takes ten times as long.
    return pairs.test(margin).p_value <= ALPHA and rules.gate(pairs, margin, CONFIDENCE)


def pairs_of(copies: Copies) -> Pairs:
    """Return the pairs that a gate sees."""
    ids = [[f"{prompt}/{copy}" for copy in range(of.size)] for prompt, of in enumerate(copies)]
    suite = SuiteRecord(
        name="s",
        path="s",
        hash="s",
        n_cases=sum(map(len, ids)),
        goal_rule="primary",
        max_unscored=0.05,
        metrics=(rules.ZERO_ONE,),
        gates=(),
        generation={},
        equal_prompts=tuple(tuple(group) for group in ids if len(group) > 1),
    )
    cases = [case for group in ids for case in group]
    values = {
        ("m", case, arm): ScoreRow(suite="s", metric="m", case=case, arm=arm, value=value)
        for case, d in zip(cases, np.concatenate(copies).tolist(), strict=True)
        for arm, value in (("base", max(-d, 0.0)), ("tuned", max(d, 0.0)))
    }
    by_id = {case: Case.model_construct(id=case, cluster=None) for case in cases}
    return ScoreTable(suite, by_id, values).pairs(rules.ZERO_ONE)
