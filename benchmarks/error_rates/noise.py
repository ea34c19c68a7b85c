"""Noise, missing scores and drift: what is no property of tuned must not decide about it.

Inexact arithmetic moves answers, both ways or one way, of tuned alone or of base asked again too.
Scores may be missing where it hurts one arm most. A machine may slow down while it is timed.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import looks, rules, whole
from benchmarks.error_rates.runs import SUITE, Gated, flips, verdict
from benchmarks.error_rates.table import ALPHA, PROMISE, Row, Settings, simulated
from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.comparison.pairs import NoiseFloor, Pairs
from tunegate.harness.further_arm import BASE_AGAIN, INCUMBENT, SHIPPED
from tunegate.harness.records.cases import CellKind
from tunegate.harness.records.manifest import Gate, MetricRecord
from tunegate.harness.records.verdict import ParityStatus, Verdict
from tunegate.harness.stats.group_sequential import look_sizes
from tunegate.harness.verdict.decide import decide_run
from tunegate.harness.verdict.deployment_parity import ParityEvidence, compare_shipped
from tunegate.harness.verdict.incumbent import compare_incumbent

CONFIDENCE = 1 - 2 * ALPHA
RIGHT = 0.6
"""Share of the cases that base has right."""
ASKED_AGAIN = 400
"""Cases of the runs with noise, all of which base is asked twice."""
GAIN = 0.035
SIZES = (500, 1000, 2000, 4000)
"""Cases of the runs with a true gain, half of which base is asked twice."""
MOST_MISSED = 0.2
"""A true gain of 3.5 points must ship in four of five runs of 4,000 cases."""
MISSING_OF, MISSING = 1000, 0.03

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What inexact arithmetic does to answers."""

    name: str
    share: float
    """Share of the cases whose score is drawn anew."""
    up: float
    """Chance that a drawn score is 1; no shift at `RIGHT`."""
    shared: bool
    """Whether base asked again is moved on the same cases as tuned, in the same way."""

    def moved(self, rng: np.random.Generator, scores: Floats) -> Floats:
        """Return scores of which some are drawn anew."""
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
    with mock.patch.object(gc, "collect", return_value=0):
        return [
            *false_claims(settings),
            *looked_claims(settings),
            *true_gains(settings),
            *missing(settings),
            *missing_further(settings),
            *times(settings),
        ]


def _gate(kind: str, margin: float, scores: tuple[Floats, ...], **more: object) -> Gated:
    metric = rules.ZERO_ONE
    gate = Gate.model_validate({"metric": metric.name, "kind": kind, "margin": margin, **more})
    return Gated(metric, gate, scores)


def _base(rng: np.random.Generator, n: int) -> Floats:
    return (rng.random(n) < RIGHT).astype(np.float64)


def false_claims(settings: Settings) -> list[Row]:
    """Return how often a fine-tune that changes nothing ships or is blocked."""
    found = []
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
            found.append(Row("noise", what, str(ASKED_AGAIN), *simulated(hits, reps)))
    return found


LOOKED = ((400, 400), (1000, 500))
"""Planned cases of runs with looks, and how many of them base is asked twice."""
FIRST = 20
"""Fewest cases of the first look at 0/1 scores."""


def looked_claims(settings: Settings) -> list[Row]:
    """Return how often any look claims a gain, or a loss, of a fine-tune that changes nothing."""
    found = []
    for noise in NOISES[2:4] if settings.fast else NOISES:
        for planned, again_n in LOOKED[:1] if settings.fast else LOOKED:
            reps = max(30, settings.reps // 10)
            rng = settings.rng(f"noise with looks {noise.name} {planned}")
            claims = [_claims(*_asked_twice(rng, noise, planned, again_n)) for _ in range(reps)]
            for end, name in enumerate(("gain", "loss")):
                hits = sum(claimed[end] for claimed in claims)
                what = f"false {name} at any look, no change, {noise.name}"
                found.append(Row("noise", what, str(planned), *simulated(hits, reps)))
    reps = max(20, settings.reps // 200)
    for noise in NOISES[3:4] if settings.fast else NOISES[1:4]:
        planned, again_n = LOOKED[0]
        rng = settings.rng(f"noise with looks, decided {noise.name}")
        hits = 0
        for _ in range(reps):
            part = _gate("gain", 0.0, _asked_twice(rng, noise, planned, again_n))
            hits += _looked_verdict(part, planned) in (Verdict.SHIP, Verdict.BLOCK)
        what = f"false SHIP or BLOCK at any look, no change, {noise.name}"
        limit = 2 * PROMISE
        found.append(Row("noise", what, str(planned), *simulated(hits, reps), limit=limit))
    return found


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
        known = np.flatnonzero(~np.isnan(again[:size]))
        names = tuple(map(str, known.tolist()))
        floor = NoiseFloor(replace(_pairs(base[known], again[known]), cases=names))
        gain |= _clears(floor, pairs, confidence)
        loss |= _clears(floor.exchanged(), pairs.exchanged(), confidence)
    return gain, loss


_HARDLY = 1.3
"""Wins above losses, in units of their root, below which no claim is near; it saves most tests."""


def _clears(floor: NoiseFloor, pairs: Pairs, confidence: float) -> bool:
    if pairs.wins - pairs.losses < _HARDLY * math.sqrt(pairs.wins + pairs.losses):
        return False
    return is_proven(pairs, 0.0, confidence) and floor.clears(pairs, 0.0, confidence)


def _looked_verdict(part: Gated, planned: int) -> Verdict:
    """Return how a run with a noise floor ends that stops as soon as a look decides it."""
    schedule = whole.look_schedule(look_sizes(planned, first=FIRST))
    arms = (*whole.ARMS, BASE_AGAIN)
    suites = {SUITE: [part]}
    manifest = whole.manifest_of(suites, looks={SUITE: schedule})
    cases = whole.cases_of(suites)
    found = Verdict.UNDECIDED
    for index, size in enumerate(schedule.sizes):
        scores = whole.rows_of(suites, arms, first=size)
        at = {SUITE: InterimLook(schedule, index)}
        found = decide_run(manifest, cases, scores, looks=at).verdict
        if found is not Verdict.UNDECIDED:
            break
    return found


def true_gains(settings: Settings) -> list[Row]:
    """Return how often a gain of 3.5 points is missed, 4 % of the answers being noise."""
    noise = NOISES[1]
    reps = max(40, settings.reps // 50)
    found = []
    for n in SIZES[:2] if settings.fast else SIZES:
        rng = settings.rng(f"gain {n}")
        shipped = alone = 0
        for _ in range(reps):
            base, changed = _changed(rng, n, GAIN)
            tuned, again = noise.both(rng, base, changed)
            pairs = _pairs(base, tuned)
            if is_proven(pairs, 0.0, CONFIDENCE):
                alone += 1
                half = n // 2
                floor = NoiseFloor(_pairs(base[:half], again[:half]))
                shipped += floor.clears(pairs, 0.0, CONFIDENCE)
        missed, error = simulated(reps - shipped, reps)
        note = f"power {shipped / reps:.3f}; of the paired test alone {alone / reps:.3f}"
        limit = MOST_MISSED if n == SIZES[-1] else 1.0
        what = "true gain of 3.5 points missed, 4 % flip both ways"
        found.append(Row("noise", what, str(n), missed, error, limit=limit, note=note))
    return found


def _pairs(base: Floats, tuned: Floats) -> Pairs:
    names = tuple(map(str, range(len(base))))
    made = rules.pairs_of(base.tolist(), tuned.tolist(), rules.ZERO_ONE)
    return replace(made, cases=names)


def _changed(rng: np.random.Generator, n: int, gain: float) -> tuple[Floats, Floats]:
    """Return two arms with 3 % losses, and wins that make up a true gain."""
    base, kind = _base(rng, n), rng.random(n)
    won = (kind < (0.03 + gain) / (1 - RIGHT)) & (base == 0)
    lost = (kind < 0.03 / RIGHT) & (base == 1)
    return base, np.where(won, 1.0, np.where(lost, 0.0, base))


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
    "wins of tuned": lambda rng, base, tuned: (base, _without(rng, tuned, tuned > base)),
    "wrong answers of base": lambda rng, base, tuned: (_without(rng, base, base == 0), tuned),
    "wins in base, right answers in tuned": lambda rng, base, tuned: (
        _without(rng, base, base < tuned),
        _without(rng, tuned, tuned == 1),
    ),
}
"""Which 3 % of the scores are missing."""


def missing(settings: Settings) -> list[Row]:
    """Return how often missing scores block, or hold back, a model that deserves neither.

    HOLD says that the gain hoped for is ruled out: it is wrong where that gain is true.
    """
    found = []
    for name, hide in HOLES.items():
        blocked = _ended(settings, hide, 0.0, Verdict.BLOCK)
        held = _ended(settings, hide, GAIN, Verdict.HOLD)
        for ended, rate in ((Verdict.BLOCK, blocked), (Verdict.HOLD, held)):
            what = f"false {ended.value}, 3 % unscored, all {name}"
            found.append(Row("noise", what, str(MISSING_OF), *rate))
    reps = max(40, settings.reps // 50)
    rng = settings.rng("missing floor")
    hits = 0
    for _ in range(reps):
        tuned = (rng.random(MISSING_OF) < 0.925).astype(np.float64)
        scores = np.ones(MISSING_OF), _without(rng, tuned, tuned == 1)
        hits += verdict([_gate("floor", 0.9, scores)]) is Verdict.BLOCK
    what = "false BLOCK, floor 0.9 at .925, 3 % unscored, all right"
    return [*found, Row("noise", what, str(MISSING_OF), *simulated(hits, reps))]


def _ended(settings: Settings, hide: Hiding, gain: float, ended: Verdict) -> tuple[float, float]:
    """Return how often runs with a true gain end so."""
    reps = max(40, settings.reps // 50)
    rng = settings.rng(f"missing {ended.value}")
    hits = 0
    for _ in range(reps):
        base, tuned = _changed(rng, MISSING_OF, gain)
        scores = hide(rng, base, tuned)
        gate = (
            _gate("gain", 0.0, scores, expected_gain=GAIN)
            if ended is Verdict.HOLD
            else _gate("tolerance", 0.05, scores)
        )
        hits += verdict([gate]) is ended
    return simulated(hits, reps)


FURTHER = 300
"""Cases of runs with a further arm, of which 3 % have no score."""
MARGIN = 0.05
Scores = tuple[Floats, Floats]


def _worse(rng: np.random.Generator) -> Scores:
    """Return scores of an arm, and of one that is worse by exactly the margin."""
    return flips(rng, FURTHER, 0.03, 0.03 + MARGIN)


def _better(rng: np.random.Generator) -> Scores:
    return flips(rng, FURTHER, 0.03 + MARGIN, 0.03)


def _same(rng: np.random.Generator) -> Scores:
    return flips(rng, FURTHER, 0.08, 0.08)


def _graded(rng: np.random.Generator) -> Scores:
    """Return scores between 0 and 1 of an arm, and of one that is worse by exactly the margin."""
    first = rng.uniform(0.3, 0.7, FURTHER)
    return first, first + rng.uniform(-0.3, 0.2, FURTHER)


def _losses_of_first(rng: np.random.Generator, first: Floats, second: Floats) -> Scores:
    return _worst_without(rng, first, first - second), second


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
    today, ship = _against_incumbent, _equivalence
    held, block = Verdict.SHIP, Verdict.BLOCK
    equal, unequal = ParityStatus.EQUIVALENT, ParityStatus.NOT_EQUIVALENT
    beyond = "differs by the margin"
    cells: list[tuple[str, Callable[..., object], object, Callable[..., Scores], Hiding]] = [
        ("SHIP, tuned worse by the tolerance", today, held, _worse, _losses_of_first),
        ("SHIP, tuned worse by the tolerance", today, held, _worse, _losses_of_second),
        ("SHIP, score worse by the tolerance", today, held, _graded, _losses_of_second),
        ("BLOCK, tuned as good", today, block, _same, _wins_of_second),
        (f"EQUIVALENT, shipped {beyond}", ship, equal, _worse, _losses_of_second),
        (f"EQUIVALENT, shipped {beyond}", ship, equal, _better, _wins_of_second),
        (f"EQUIVALENT, score {beyond}", ship, equal, _graded, _losses_of_first),
        ("NOT EQUIVALENT, no change", ship, unequal, _same, _wins_of_second),
    ]
    found = []
    for what, compare, wrong, draw, hide in cells[::4] if settings.fast else cells:
        hidden = hide.__name__.strip("_").replace("_", " ")
        text = f"false {what}, 3 % unscored: {hidden}"
        rng = settings.rng(text)
        reps = max(40, settings.reps // 20)
        of = rules.SCORE if draw is _graded else rules.ZERO_ONE
        hits = 0
        for _ in range(reps):
            first, second = draw(rng)
            hits += compare(rng, *hide(rng, first, second), of) is wrong
        found.append(Row("noise", text, str(FURTHER), *simulated(hits, reps)))
    return found


def _against_incumbent(
    rng: np.random.Generator, incumbent: Floats, tuned: Floats, of: MetricRecord
) -> Verdict:
    """Return how tuned compares with the incumbent; base is far worse than both."""
    worse = np.nan_to_num(tuned, nan=1.0) * (rng.random(FURTHER) < 0.5 if of.binary else 0.5)
    run = {SUITE: [whole.gated("m", "tolerance", MARGIN, (worse, tuned), of)]}
    further = {SUITE: [whole.gated("m", "tolerance", MARGIN, (incumbent,), of)]}
    manifest, cases = whole.manifest_of(run, arms=(*whole.ARMS, INCUMBENT)), whole.cases_of(run)
    scored = [*whole.rows_of(run), *whole.rows_of(further, (INCUMBENT,))]
    return compare_incumbent(manifest, cases, scored).verdict


def _equivalence(
    rng: np.random.Generator, tuned: Floats, shipped: Floats, of: MetricRecord
) -> ParityStatus:
    """Return whether the artifact that ships is called equivalent to tuned."""
    run = {SUITE: [whole.gated("m", "tolerance", MARGIN, (tuned, tuned), of)]}
    further = {SUITE: [whole.gated("m", "tolerance", MARGIN, (shipped,), of)]}
    manifest, cases = whole.manifest_of(run, arms=(*whole.ARMS, SHIPPED)), whole.cases_of(run)
    scored = [*whole.rows_of(run), *whole.rows_of(further, (SHIPPED,))]
    return compare_shipped(manifest, cases, scored, ParityEvidence()).status


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


def _bursts(rng: np.random.Generator, calls: int) -> Floats:
    """Return bursts that make about six calls in a row a third slower."""
    load, call = np.zeros(calls), 0
    while call < calls:
        call += int(rng.geometric(1 / 30))
        length = int(rng.geometric(1 / 6))
        load[call : call + length] = 0.3
        call += length
    return load


MACHINES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "20 % slower by the end": _drift,
    "load correlated by .5": _lasting,
    "bursts of load": _bursts,
}


def times(settings: Settings) -> list[Row]:
    """Return the errors of a tolerance of 10 % and of a regression, arms asked in turn."""
    reps = max(100, settings.reps // 5)
    found = []
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
                found.append(Row("noise", cell, str(n), *simulated(hits, reps)))
    return found


def _timed(
    rng: np.random.Generator, load: Callable[[np.random.Generator, int], Floats], n: int
) -> tuple[Floats, Floats]:
    """Return seconds of equally fast arms, each asked first every other time."""
    logs = (load(rng, 2 * n) + rng.normal(0, 0.03, 2 * n)).reshape(n, 2)
    logs[1::2] = logs[1::2, ::-1]
    length = rng.normal(0, 0.3, (n, 1))
    times = np.exp(logs + length)
    return times[:, 0], times[:, 1]
