"""Noise, missing scores and drift: what is not tuned's doing must not decide about it.

Inexact arithmetic moves answers, both ways or one way, of tuned alone or of base asked again too.
Scores may be missing where it hurts one arm most. A machine may slow down while it is timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import looks, rules, runs
from benchmarks.error_rates.runs import SUITE, Gated, flips, verdict
from benchmarks.error_rates.table import ALPHA, Row, Settings, simulated
from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.gating.decide_all import decide_gate
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.manifest import Gate, MetricRecord
from tunegate.harness.records.parity import ParityStatus
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.group_sequential import look_sizes

CONFIDENCE = 1 - 2 * ALPHA
RIGHT = 0.6
"""Share of the cases that base has right."""
ASKED_AGAIN = 400
"""Cases of the runs with noise; base is asked each of them twice."""
MISSING_OF, MISSING = 1000, 0.03

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What inexact arithmetic does to answers."""

    name: str
    share: float
    """Share of the cases whose score is drawn again."""
    up: float
    """Chance that a drawn score is 1; no shift at `RIGHT`."""
    shared: bool
    """Whether base asked again is moved on the same cases as tuned, in the same way."""

    def moved(self, rng: np.random.Generator, scores: Floats) -> Floats:
        """Return the scores, some of them drawn again."""
        drawn = (rng.random(len(scores)) < self.up).astype(np.float64)
        return np.where(rng.random(len(scores)) < self.share, drawn, scores)

    def both(self, rng: np.random.Generator, base: Floats, tuned: Floats) -> tuple[Floats, Floats]:
        """Return tuned and base asked again, as arithmetic leaves them."""
        seed = int(rng.integers(2**32))
        again = seed if self.shared else int(rng.integers(2**32))
        return (
            self.moved(np.random.default_rng(seed), tuned),
            self.moved(np.random.default_rng(again), base),
        )


NOISES = (
    Arithmetic("4 % flip both ways", 0.083, RIGHT, shared=False),
    Arithmetic("4 % flip both ways, base again alike", 0.083, RIGHT, shared=True),
    Arithmetic("4 % flip, all for tuned", 0.1, 1.0, shared=False),
    Arithmetic("4 % flip, all for tuned, base again alike", 0.1, 1.0, shared=True),
    Arithmetic("6 % flip, all against tuned", 0.1, 0.0, shared=False),
)


def rows(settings: Settings) -> list[Row]:
    """Return the rates of claims that noise, missing scores or drift make."""
    return [
        *false_claims(settings),
        *false_tolerances(settings),
        *looked_claims(settings),
        *missing(settings),
        *missing_further(settings),
        *times(settings),
        *endless(settings),
    ]


def _gate(kind: str, margin: float, scores: tuple[Floats, ...]) -> Gated:
    return runs.gated("m", kind, margin, scores, rules.ZERO_ONE)


def _base(rng: np.random.Generator, n: int) -> Floats:
    return (rng.random(n) < RIGHT).astype(np.float64)


def false_claims(settings: Settings) -> list[Row]:
    """Return how often a fine-tune that changes nothing ships or is blocked."""
    table = []
    reps = max(40, settings.reps // 20)
    for noise in NOISES:
        rng = settings.rng(f"noise {noise.name}")
        claimed = {Verdict.SHIP: 0, Verdict.BLOCK: 0}
        for _ in range(reps):
            base = _base(rng, ASKED_AGAIN)
            tuned, again = noise.both(rng, base, base)
            ended = verdict([_gate("gain", 0.0, (base, tuned, again))])
            if ended in claimed:
                claimed[ended] += 1
        for ended, hits in claimed.items():
            what = f"false {ended.value}, no change, {noise.name}"
            table.append(Row("noise", what, str(ASKED_AGAIN), *simulated(hits, reps)))
    return table


MARGIN = 0.05
ONE_WAY = Arithmetic("base asked again scores 2 points more", 0.05, 1.0, shared=False)


def false_tolerances(settings: Settings) -> list[Row]:
    """Return how often a tolerance passes that is exactly lost, but for arithmetic."""
    table = []
    gate = Gate(metric="m", kind="tolerance", margin=MARGIN)
    for noise in (ONE_WAY, NOISES[0]):
        for n in (200,) if settings.fast else (200, ASKED_AGAIN):
            rng = settings.rng(f"tolerance {noise.name} {n}")
            reps, hits = max(40, settings.reps // 8), 0
            for _ in range(reps):
                base = _base(rng, n)
                worse = np.where(rng.random(n) < MARGIN / RIGHT, 0.0, base)
                tuned, again = noise.both(rng, base, worse)
                floor = NoiseFloor(_pairs(base, again))
                result = decide_gate(gate, _pairs(base, tuned), regressed=False, noise=floor)
                hits += result.status is GateStatus.PASS
            what = f"tolerance {MARGIN:g} exactly lost, {noise.name}"
            table.append(Row("noise", what, str(n), *simulated(hits, reps)))
    return table


LOOKED = ((400, 400), (1000, 500))
"""Planned cases of runs with looks, and how many of them base is asked twice."""
FIRST = 20
"""Fewest cases of the first look at 0/1 scores."""


def looked_claims(settings: Settings) -> list[Row]:
    """Return how often any look claims a gain, or a loss, of a fine-tune that changes nothing."""
    table = []
    for noise in NOISES[2:4] if settings.fast else NOISES:
        for planned, again_n in LOOKED[:1] if settings.fast else LOOKED:
            reps = max(30, settings.reps // 10)
            rng = settings.rng(f"noise with looks {noise.name} {planned}")
            claims = [_claims(*_asked_twice(rng, noise, planned, again_n)) for _ in range(reps)]
            for end, name in enumerate(("gain", "loss")):
                hits = sum(claimed[end] for claimed in claims)
                what = f"false {name} at any look, no change, {noise.name}"
                table.append(Row("noise", what, str(planned), *simulated(hits, reps)))
    return table


def _asked_twice(
    rng: np.random.Generator, noise: Arithmetic, planned: int, again_n: int
) -> tuple[Floats, Floats, Floats]:
    """Return base, an unchanged tuned, and base asked again on cases that are drawn."""
    base = _base(rng, planned)
    tuned, again = noise.both(rng, base, base)
    again[rng.permutation(planned)[again_n:]] = np.nan
    return base, tuned, again


def _claims(base: Floats, tuned: Floats, again: Floats) -> tuple[bool, bool]:
    """Return whether any look claims a gain, and whether one claims a loss."""
    sizes = tuple(look_sizes(len(base), first=FIRST))
    gain = loss = False
    for size, confidence in zip(sizes, looks.confidences(sizes), strict=True):
        pairs = _pairs(base[:size], tuned[:size])
        measured = np.flatnonzero(~np.isnan(again[:size]))
        names = tuple(map(str, measured.tolist()))
        floor = NoiseFloor(replace(_pairs(base[measured], again[measured]), cases=names))
        gain |= _clears(floor, pairs, confidence)
        loss |= _clears(floor.exchanged(), pairs.exchanged(), confidence)
    return gain, loss


_HARDLY = 1.3
"""Wins above losses, in units of their root, below which no claim is near; it saves most tests."""


def _clears(floor: NoiseFloor, pairs: Pairs, confidence: float) -> bool:
    if pairs.wins - pairs.losses < _HARDLY * math.sqrt(pairs.wins + pairs.losses):
        return False
    return is_proven(pairs, 0.0, confidence) and floor.clears(pairs, 0.0, confidence)


def _pairs(base: Floats, tuned: Floats) -> Pairs:
    names = tuple(map(str, range(len(base))))
    made = rules.pairs_of(base.tolist(), tuned.tolist(), rules.ZERO_ONE)
    return replace(made, cases=names)


def _without(rng: np.random.Generator, column: Floats, among: NDArray[np.bool_]) -> Floats:
    """Return the scores without 3 % of all, taken from some of the cases."""
    eligible = np.flatnonzero(among)
    count = min(round(MISSING * len(column)), len(eligible))
    holes = column.copy()
    holes[rng.choice(eligible, count, replace=False)] = np.nan
    return holes


Hiding = Callable[[np.random.Generator, Floats, Floats], tuple[Floats, Floats]]

HOLES: dict[str, Hiding] = {
    "right answers of tuned": lambda rng, base, tuned: (base, _without(rng, tuned, tuned == 1)),
    "wins in base, right answers in tuned": lambda rng, base, tuned: (
        _without(rng, base, base < tuned),
        _without(rng, tuned, tuned == 1),
    ),
}
"""Which 3 % of the scores are missing."""


def missing(settings: Settings) -> list[Row]:
    """Return how often missing scores block a model that loses nothing."""
    table = []
    for name, hide in HOLES.items():
        reps, hits = max(40, settings.reps // 50), 0
        rng = settings.rng(f"missing {name}")
        for _ in range(reps):
            kind, base = rng.random(MISSING_OF), _base(rng, MISSING_OF)
            won = (kind < 0.03 / (1 - RIGHT)) & (base == 0)
            lost = (kind < 0.03 / RIGHT) & (base == 1)
            scores = hide(rng, base, np.where(won, 1.0, np.where(lost, 0.0, base)))
            hits += verdict([_gate("tolerance", 0.05, scores)]) is Verdict.BLOCK
        what = f"false BLOCK, 3 % unscored, all {name}"
        table.append(Row("noise", what, str(MISSING_OF), *simulated(hits, reps)))
    return table


FURTHER = 300
"""Cases of runs with a further arm; 3 % of them have no score."""
Scores = tuple[Floats, Floats]


def _worse(rng: np.random.Generator) -> Scores:
    """Return scores of an arm, and of one that is worse by exactly the margin."""
    return flips(rng, FURTHER, 0.03, 0.03 + MARGIN)


def _same(rng: np.random.Generator) -> Scores:
    return flips(rng, FURTHER, 0.08, 0.08)


def _losses_of_second(rng: np.random.Generator, first: Floats, second: Floats) -> Scores:
    return first, _worst_without(rng, second, first - second)


def _wins_of_second(rng: np.random.Generator, first: Floats, second: Floats) -> Scores:
    return first, _worst_without(rng, second, second - first)


def _worst_without(rng: np.random.Generator, column: Floats, loss: Floats) -> Floats:
    """Return the scores without 3 % of all, those of the largest losses."""
    order = np.argsort(-(loss + rng.uniform(0, 1e-9, len(loss))))
    holes = column.copy()
    holes[order[: round(MISSING * len(column))]] = np.nan
    return holes


def missing_further(settings: Settings) -> list[Row]:
    """Return false claims on a further arm whose scores, or tuned's, are missing where it helps.

    The first arm of each pair is the incumbent, or tuned compared with the artifact that ships.
    """
    cells: list[tuple[str, Callable[..., object], object, Callable[..., Scores], Hiding]] = [
        ("SHIP, tuned worse by the tolerance", _today, Verdict.SHIP, _worse, _losses_of_second),
        ("BLOCK, tuned as good", _today, Verdict.BLOCK, _same, _wins_of_second),
        (
            "EQUIVALENT, shipped differs by the margin",
            _parity,
            ParityStatus.EQUIVALENT,
            _worse,
            _losses_of_second,
        ),
        (
            "NOT EQUIVALENT, no change",
            _parity,
            ParityStatus.NOT_EQUIVALENT,
            _same,
            _wins_of_second,
        ),
    ]
    table = []
    for what, compare, wrong, draw, hide in cells[::2] if settings.fast else cells:
        hidden = hide.__name__.strip("_").replace("_", " ")
        text = f"false {what}, 3 % unscored: {hidden}"
        rng = settings.rng(text)
        reps = max(40, settings.reps // 20)
        hits = 0
        for _ in range(reps):
            first, second = draw(rng)
            hits += compare(rng, *hide(rng, first, second)) is wrong
        table.append(Row("noise", text, str(FURTHER), *simulated(hits, reps)))
    return table


def _today(rng: np.random.Generator, today: Floats, tuned: Floats) -> Verdict:
    return runs.against_incumbent(rng, today, tuned, rules.ZERO_ONE)


def _parity(rng: np.random.Generator, tuned: Floats, shipped: Floats) -> ParityStatus:
    return runs.parity(tuned, shipped, rules.ZERO_ONE)


TIMED = MetricRecord(
    name="latency",
    use="latency",
    needs=CellKind.LATENCY,
    higher_is_better=False,
    range=None,
    binary=False,
)


def _drift(rng: np.random.Generator, calls: int) -> Floats:
    """Return the logarithm of a machine's slowness that grows by 20 %."""
    return np.log(np.linspace(1, 1.2, calls))


def _lasting(rng: np.random.Generator, calls: int) -> Floats:
    """Return load that is correlated by a half from call to call."""
    steps = rng.normal(0, 0.1 * math.sqrt(0.75), calls)
    load = np.empty(calls)
    level = rng.normal(0, 0.1)
    for call in range(calls):
        load[call] = level = 0.5 * level + steps[call]
    return load


MACHINES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "20 % slower by the end": _drift,
    "load correlated by .5": _lasting,
}


def times(settings: Settings) -> list[Row]:
    """Return the errors of a tolerance of 10 % and of a regression, arms asked in turn."""
    reps = max(100, settings.reps // 5)
    table = []
    for name, load in MACHINES.items():
        for n in (30,) if settings.fast else (30, 100):
            rng = settings.rng(f"times {name} {n}")
            passed = regressed = 0
            for _ in range(reps):
                base, tuned = _timed(rng, load, n)
                slower = Pairs(SUITE, TIMED, tuple(base), tuple(1.1 * tuned))
                passed += is_proven(slower.relative(0.1), 0.0, CONFIDENCE)
                equal = Pairs(SUITE, TIMED, tuple(base), tuple(tuned))
                regressed += equal.reversed_test().p_value <= ALPHA
            for what, hits in (("10 % slower passes 10 %", passed), ("false REGRESSED", regressed)):
                cell = f"latency, {what}, {name}"
                table.append(Row("noise", cell, str(n), *simulated(hits, reps)))
    return table


LENGTH = rules.UNBOUNDED.model_copy(update={"name": "length", "higher_is_better": False})


def endless(settings: Settings) -> list[Row]:
    """Return how often a ratio of lengths passes that rare endless answers bring to its bound."""
    table = []
    for share, n in ((0.03, 40), (0.03, 100), (0.01, 100), (0.01, 200)):
        bound = 20.0**share
        gate = Gate(metric="length", kind="ratio", margin=bound)
        rng = settings.rng(f"endless {share} {n}")
        reps, hits = max(60, settings.reps // 8), 0
        for _ in range(reps):
            base = np.exp(rng.normal(4, 0.5, n))
            tuned = base * np.exp(rng.normal(0, 0.3, n))
            tuned = np.where(rng.random(n) < share, 20 * base, tuned)
            pairs = rules.pairs_of(base.tolist(), tuned.tolist(), LENGTH)
            hits += decide_gate(gate, pairs, regressed=False).status is GateStatus.PASS
        what = f"ratio of {bound:.3g} exactly reached, {100 * share:g} % endless"
        table.append(Row("noise", what, str(n), *simulated(hits, reps)))
    return table


def _timed(
    rng: np.random.Generator, load: Callable[[np.random.Generator, int], Floats], n: int
) -> tuple[Floats, Floats]:
    """Return seconds of equally fast arms, each asked first every other time."""
    logs = (load(rng, 2 * n) + rng.normal(0, 0.03, 2 * n)).reshape(n, 2)
    logs[1::2] = logs[1::2, ::-1]
    length = rng.normal(0, 0.3, (n, 1))
    times = np.exp(logs + length)
    return times[:, 0], times[:, 1]
