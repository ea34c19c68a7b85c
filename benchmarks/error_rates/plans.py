"""Plans: how far the planned chance of a pass is from the true one; and suites that are extended.

What `tunegate plan` says is compared with the enumeration of all samples where the gate is asked
about each of them, and with simulated gates and whole runs elsewhere. Limit: 3 points.

A candidate that a suite leaves undecided is judged again once cases were added: the rate at which
one of the two calls a candidate at the margin proven is exact for 0/1 scores. Limit: .06.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]  # scipy ships no types

from benchmarks.error_rates import binary, looks, rules, runs
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.comparison.sample_size import (
    GateTest,
    PlannedComparison,
    PlannedLooks,
    ScoreSpread,
    cases_to_certify,
)
from tunegate.harness.comparison.score_table import tables_of
from tunegate.harness.gate_kind import gate_kind
from tunegate.harness.gating.error_control import EXTENDED, extension_share
from tunegate.harness.power.feasibility import schedule_looks
from tunegate.harness.power.forecast import forecast_suite
from tunegate.harness.records.cases import Case, ScoreRow
from tunegate.harness.records.manifest import Gate, Manifest, MetricRecord
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.binary import clopper_pearson
from tunegate.harness.stats.group_sequential import look_sizes
from tunegate.harness.suite import Suite, load_suite
from tunegate.harness.verdict.decide import suite_results
from tunegate.harness.verdict.interim_analysis import should_stop

Floats = NDArray[np.float64]

POINTS = 0.03
"""How far a planned chance may be off."""
LEVEL = 0.6
"""Base's level of simulated 0/1 scores."""
SIZES = (30, 60, 100, 200)
SHARES = (0.05, 0.1, 0.2, 0.4)
CELLS = ((0.0, 0.05), (0.0, 0.1), (0.02, 0.05), (0.02, 0.1), (-0.02, 0.0), (-0.05, 0.0),
         (-0.05, -0.02))  # fmt: skip
"""(margin, true difference)."""
LARGE = ((500, "tolerance", 0.02, 0.0, 0.1), (2000, "tolerance", 0.02, 0.0, 0.1),
         (2000, "gain", 0.0, 0.02, 0.1), (300, "gain", 0.02, 0.06, 0.2),
         (200, "tolerance", "5%", 0.0, 0.1), (800, "tolerance", "2%", 0.0, 0.05))  # fmt: skip
"""(cases, kind, margin, true difference, discordance) of simulated gates on 0/1 scores."""
MEANS = ((20, 0.02, 0.10, 0.1), (30, 0.0, 0.10, 0.2), (60, -0.05, 0.0, 0.2), (150, -0.02, 0.0, 0.1),
         (400, 0.0, 0.03, 0.25))  # fmt: skip
"""(cases, margin, true difference, deviation) of scores in [0, 1]."""


def rows(settings: Settings) -> list[Row]:
    """Return by how much plans are off."""
    return [
        *_enumerated(settings),
        *_looked_at(settings),
        *_flips(settings),
        *_means(settings),
        *_whole_runs(settings),
        *_floors(),
        *_extended(settings),
        *_extended_often(settings),
        *_extended_runs(settings),
    ]


def planned(
    gate: Gate,
    of: MetricRecord,
    n: int,
    effect: float,
    spread: ScoreSpread,
    looks: PlannedLooks | None = None,
) -> float:
    """Return the chance of a pass that a plan gives."""
    kind = gate_kind(gate.kind)
    share = isinstance(gate.margin, str)
    margin = LEVEL * float(str(gate.margin).rstrip("%")) / 100 if share else float(gate.margin)
    margin = margin if kind.is_goal else -margin

    def proves(base: Sequence[float], tuned: Sequence[float], confidence: float) -> bool:
        judged = kind.judged_pairs(gate, Pairs("", of, tuple(base), tuple(tuned)))
        return is_proven(judged.pairs, judged.margin, confidence)

    test = GateTest(proves, base_level=LEVEL)
    plan = PlannedComparison(n, margin, binary.CONFIDENCE, spread, test=test, looks=looks)
    return plan.chance(effect)


def _gate(margin: float) -> Gate:
    kind = "tolerance" if margin < 0 else "gain"
    return Gate(metric="m", kind=kind, margin=abs(margin))


def _off(what: str, n: int, plan: float, true: float, error: float = 0.0, note: str = "") -> Row:
    text = f"planned {plan:.3f}, true {true:.3f}{note}"
    return Row("plans", what, str(n), abs(plan - true), error, limit=POINTS, note=text)


@cache
def _table(n: int, margin: float) -> binary.Flags:
    return binary.proofs(n, margin, binary.CONFIDENCE)


EXTENSIONS = ((50, 100), (100, 200), (100, 150), (60, 240))
"""Cases of a suite that left a candidate undecided, and after cases were added."""
DOUBLED = (50, 100, 200, 400)
"""Cases of a suite that was doubled three times."""


def _extended(settings: Settings) -> Iterator[Row]:
    """Yield how often a candidate at the margin is called proven, at once or on more cases."""
    for sizes in EXTENSIONS[:1] if settings.fast else EXTENSIONS:
        for margin, name in binary.MARGINS.items():
            alone, again = (_twice(sizes, margin, second) for second in (EXTENDED, 1))
            least = max(abs(margin), 1e-9)
            rate, share = binary.worst(partial(looks.ever, alone, margin), least, step=0.05)
            what = f"0/1, {name}, true difference {margin:+g}, extended once"
            plain = looks.ever(again, margin, share)
            note = f"{100 * share:.3g} % discordant; {plain:.4f} with all of the error twice"
            yield Row("plans", what, f"{sizes[0]}+{sizes[1] - sizes[0]}", rate, note=note)


def _extended_often(settings: Settings) -> Iterator[Row]:
    """Yield the same where a suite was doubled again and again, each time left undecided."""
    sizes = DOUBLED[:3] if settings.fast else DOUBLED
    shares = [extension_share(count) for count in range(len(sizes))]
    for margin, name in binary.MARGINS.items():
        levels = [1 - (1 - binary.CONFIDENCE) / share for share in shares]
        tables = (binary.proofs(n, margin, level) for n, level in zip(sizes, levels, strict=True))
        plan = looks.LookPlan(sizes, tuple(tables))
        least = max(abs(margin), 1e-9)
        rate, _ = binary.worst(partial(looks.ever, plan, margin), least, step=0.05)
        what = f"0/1, {name}, true difference {margin:+g}, doubled {len(sizes) - 1} times"
        yield Row("plans", what, "+".join(map(str, sizes)), rate)


def _twice(sizes: tuple[int, int], margin: float, share: int) -> looks.LookPlan:
    """Return two looks of which the second has 1/`share` of the error, as a plan of looks."""
    levels = (binary.CONFIDENCE, 1 - (1 - binary.CONFIDENCE) / share)
    tables = (binary.proofs(n, margin, level) for n, level in zip(sizes, levels, strict=True))
    return looks.LookPlan(sizes, tuple(tables))


def _extended_runs(settings: Settings) -> Iterator[Row]:
    """Yield how often a whole run ships a candidate without effect, the second time if not before.

    Once as a suite is by default, once for the second candidate of one with `alpha_per_attempt`,
    which has half of the error to begin with.
    """
    reps = max(100, settings.reps // (100 if settings.fast else 5))
    for first, all_, adjusted in ((100, 200, False), (100, 200, True)):
        rng, shipped = settings.rng(f"extended {first} {all_} {adjusted}"), 0
        for _ in range(reps):
            scores = level_flips(rng, all_, 0.1, 0.1)
            twice = (
                runs.verdict(
                    [_goal(scores, n)],
                    attempt=1 + adjusted,
                    alpha_per_attempt=adjusted,
                    extended=int(n > first),
                )
                for n in (first, all_)
            )
            shipped += any(verdict is Verdict.SHIP for verdict in twice)
        rate, error = simulated(shipped, reps)
        name = "candidate 2 of alpha_per_attempt" if adjusted else "a default suite"
        what = f"false SHIP, gain 0, {name}, extended once"
        yield Row("plans", what, f"{first}+{all_ - first}", rate, error)


def _goal(scores: tuple[Floats, Floats], n: int) -> runs.Gated:
    gate = Gate(metric="m", kind="gain", margin=0.0)
    return runs.Gated(rules.ZERO_ONE, gate, (scores[0][:n], scores[1][:n]))


def _enumerated(settings: Settings) -> Iterator[Row]:
    """Yield the worst plan of a gate on 0/1 scores, over the shares of discordant pairs."""
    for n in SIZES[:2] if settings.fast else SIZES:
        for margin, effect in CELLS:
            found = []
            for share in SHARES:
                if share >= abs(effect):
                    true = binary.proof(_table(n, margin), effect, share)
                    plan = planned(
                        _gate(margin), rules.ZERO_ONE, n, effect, ScoreSpread(share, binary=True)
                    )
                    found.append((abs(plan - true), plan, true, share))
            _, plan, true, share = max(found)
            what = f"0/1, margin {margin:+g}, true difference {effect:+g}"
            note = f", worst with {100 * share:g} % discordant"
            yield _off(what, n, plan, true, note=note)


def _looked_at(settings: Settings) -> Iterator[Row]:
    """Yield the worst plan of a gate that is looked at, against the exact look by look."""
    for n in (100,) if settings.fast else (100, 200):
        for margin, effect in ((0.0, 0.1), (-0.05, 0.0), (0.02, 0.1)):
            found = []
            for share in (0.1, 0.2, 0.3):
                true = looks.ever(looks.plan(n, margin), effect, share)
                plan = planned(
                    _gate(margin),
                    rules.ZERO_ONE,
                    n,
                    effect,
                    ScoreSpread(share, binary=True),
                    PlannedLooks(lambda n: [s / n for s in look_sizes(n)], given_up=False),
                )
                found.append((abs(plan - true), plan, true, share))
            _, plan, true, share = max(found)
            what = f"0/1 with looks, margin {margin:+g}, true difference {effect:+g}"
            yield _off(what, n, plan, true, note=f", worst with {100 * share:g} % discordant")


def _flips(settings: Settings) -> Iterator[Row]:
    """Yield plans of larger samples and of relative tolerances, against simulated gates."""
    reps = max(100, settings.reps // (100 if settings.fast else 10))
    for n, kind, margin, effect, share in LARGE[-1:] if settings.fast else LARGE:
        gate = Gate(metric="m", kind=kind, margin=margin)
        rng = settings.rng(f"plans {n} {kind} {margin}")

        def draw(
            rng: np.random.Generator = rng, n: int = n, effect: float = effect, share: float = share
        ) -> tuple[Floats, Floats]:
            return level_flips(rng, n, (share + effect) / 2, (share - effect) / 2)

        true, error = simulated(sum(_passes(gate, rules.ZERO_ONE, draw) for _ in range(reps)), reps)
        plan = planned(gate, rules.ZERO_ONE, n, effect, ScoreSpread(share, binary=True))
        what = f"0/1, {kind} {margin}, true difference {effect:+g}, {100 * share:g} % discordant"
        yield _off(what, n, plan, true, error)


def level_flips(
    rng: np.random.Generator, n: int, win: float, lose: float, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Return 0/1 scores with the given chances of a win and a loss, base at the given level."""
    kind = rng.random(n)
    both = (level - lose) / (1 - win - lose)
    equal = (rng.random(n) < both).astype(np.float64)
    won, lost = kind < win, (kind >= win) & (kind < win + lose)
    return (
        np.where(won, 0.0, np.where(lost, 1.0, equal)),
        np.where(won, 1.0, np.where(lost, 0.0, equal)),
    )


def _passes(gate: Gate, of: MetricRecord, draw: Callable[[], tuple[Floats, Floats]]) -> bool:
    base, tuned = (column.tolist() for column in draw())
    judged = gate_kind(gate.kind).judged_pairs(gate, Pairs("", of, tuple(base), tuple(tuned)))
    return is_proven(judged.pairs, judged.margin, binary.CONFIDENCE)


def _means(settings: Settings) -> Iterator[Row]:
    """Yield plans of scores between 0 and 1, which are guarded while rare losses go unseen."""
    reps = max(200, settings.reps // (50 if settings.fast else 5))
    for n, margin, effect, deviation in MEANS[:2] if settings.fast else MEANS:
        gate, rng = _gate(margin), settings.rng(f"plans {n} {margin} {deviation}")

        def draw(
            rng: np.random.Generator = rng,
            n: int = n,
            effect: float = effect,
            deviation: float = deviation,
        ) -> tuple[Floats, Floats]:
            base = np.full(n, 0.5)
            return base, base + rng.normal(effect, deviation, n).clip(-1, 1)

        true, error = simulated(sum(_passes(gate, rules.SCORE, draw) for _ in range(reps)), reps)
        plan = planned(gate, rules.SCORE, n, effect, ScoreSpread(deviation, binary=False))
        what = f"score, margin {margin:+g}, true difference {effect:+g}, deviation {deviation:g}"
        yield _off(what, n, plan, true, error)


def _floors() -> Iterator[Row]:
    """Yield by how much the cases that certify a floor in 4 of 5 runs miss that, exactly.

    The power rises and falls with every case; the number that is printed has 80 % at least.
    """
    for level, floor in ((0.97, 0.9), (0.97, 0.95), (0.98, 0.95), (0.99, 0.95)):
        n = cases_to_certify(level, floor, binary.CONFIDENCE)
        assert n is not None
        tails = special.bdtrc(np.arange(n) - 0.0, n, level)  # P(more than k successes)
        lows = [clopper_pearson(k + 1, n, confidence=binary.CONFIDENCE).low for k in range(n)]
        power = max(
            (float(t) for t, low in zip(tails, lows, strict=True) if low >= floor), default=0.0
        )
        what = f"certified floor {floor:g} at a level of {level:g}: power short of .8"
        yield Row("plans", what, str(n), max(0.0, 0.8 - power), limit=0.0, note=f"{power:.3f}")


_SUITE = """name = "s"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
name = "goal"
[[metrics]]
use = "loops"
name = "guard"
[[gates]]
metric = "goal"
gain = {gain}
expected_gain = {expected}
[[gates]]
metric = "guard"
tolerance = 0.05
"""


def suite_of(n: int, gain: float, expected: float) -> Suite:
    """Return a suite with a goal and a guardrail on 0/1 scores."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "suite.toml"
        file.write_text(_SUITE.format(gain=gain, expected=expected), encoding="utf-8")
        lines = (f'{{"prompt": "{i}", "expected": "x"}}\n' for i in range(n))
        (Path(folder) / "cases.jsonl").write_text("".join(lines), encoding="utf-8")
        return load_suite(file)


def _whole_runs(settings: Settings) -> Iterator[Row]:
    """Yield the planned chance of SHIP, with all looks, against runs that are decided."""
    reps = max(60, settings.reps // (200 if settings.fast else 20))
    cells = ((90, 0.0, 0.15), (200, 0.0, 0.1), (400, 0.02, 0.1))
    for n, gain, expected in cells[:1] if settings.fast else cells:
        suite = suite_of(n, gain, expected)
        forecast = forecast_suite(suite)
        share = forecast.gates[0].outlooks[1].spread.value
        rng = settings.rng(f"plans run {n}")
        shipped = 0
        for _ in range(reps):
            goal = level_flips(rng, n, (share + expected) / 2, (share - expected) / 2)
            guard = level_flips(rng, n, share / 2, share / 2)
            shipped += ends(suite, {"goal": goal, "guard": guard}) is Verdict.SHIP
        true, error = simulated(shipped, reps)
        what = (
            f"SHIP, gain {gain:g} at {expected:g} and tolerance .05, {100 * share:g} % discordant"
        )
        cases = f", 80 % takes {forecast.cases[1]}"
        yield _off(what, n, forecast.chances[1], true, error, note=cases)


def ends(suite: Suite, columns: dict[str, tuple[Floats, Floats]]) -> Verdict:
    """Return the verdict of a run as the pipeline leads it: look by look, given up or decided."""
    record = suite.record().model_copy(update={"looks": schedule_looks(suite, seed=0)})
    manifest = runs.manifest([record])
    ids = [case.id for case in suite.cases]
    values = {
        (name, case): pair
        for name, (base, tuned) in columns.items()
        for case, pair in zip(ids, zip(base.tolist(), tuned.tolist(), strict=True), strict=True)
    }
    schedule = record.looks
    if schedule is None:
        return _verdict(manifest, suite.cases, _rows(values, ids), None)
    for index, size in enumerate(schedule.sizes):
        shown = _rows(values, schedule.order[:size])
        last = index == len(schedule.sizes) - 1
        if last or should_stop(manifest, record, suite.cases, shown, index):
            return _verdict(manifest, suite.cases, shown, InterimLook(schedule, index))
    raise AssertionError("the last look ends a run")


def _verdict(
    manifest: Manifest, cases: Sequence[Case], scores: list[ScoreRow], look: InterimLook | None
) -> Verdict:
    looks = {} if look is None else {"s": look}
    (result,) = suite_results(manifest, tables_of(manifest, {"s": cases}, scores, looks))
    return result.verdict


def _rows(values: dict[tuple[str, str], tuple[float, float]], ids: Sequence[str]) -> list[ScoreRow]:
    shown = set(ids)
    return [
        ScoreRow(suite="s", metric=name, case=case, arm=arm, value=value)
        for (name, case), pair in values.items()
        if case in shown
        for arm, value in zip(("base", "tuned"), pair, strict=True)
    ]
