"""Judges in runs: tolerances in per cent, and runs with several judges.

As in `judges`, the truth of each answer is known and the judge says something else about some of
them. Tuned's true level is exactly at a share of base's true level, which nobody knows: labels, or
a calibration, correct what the judge says of both. In runs of several judges each has a calibration
of its own, whose labelled answers may be those of the others.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from unittest import mock

import numpy as np

from benchmarks.error_rates import judges, rules, whole
from benchmarks.error_rates.judges import BASE_RIGHT, CONFIDENCE, JudgedColumns, Population
from benchmarks.error_rates.runs import Gated, flips
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.records.judges import Label
from tunegate.harness.records.manifest import Gate, JudgeRecord
from tunegate.harness.records.verdict import Verdict, VerdictRecord
from tunegate.harness.verdict.decide import decide_run

LIMITS = (("5%", 0.0), ("10%", 0.08), ("20%", 0.08))
"""Tolerances, and shares of the cases that tuned wins."""
ERRORS = (("lenient", 0.1), ("harsh", 0.1), ("both", 0.05), ("flip", 0.03))
"""Kinds of errors, and on which share of the answers."""
LABELLED = (50, 200)
"""Labelled pairs of a run of `judges.CASES`."""
CALIBRATED = ((100, 400), (200, 1000))
"""Labelled pairs of a calibration, and cases of the run."""
HOW = ("calibrated", "labels on the run")
"""What corrects the judge; runs with judges have no looks."""
NAMES = ("tone", "rubric")
"""Metrics of a run of several judges."""
TOLERANCE, CASES = 0.1, 400
"""Their margin, and their cases."""


def at_share(error: str, wrong: float, share: str, won: float) -> Population:
    """Return pairs of which tuned's true level is exactly `1 - share` of base's.

    Base's level is `lost + BASE_RIGHT (1 - won - lost)`, and tuned's is `won - lost` higher.
    """
    part = float(share.rstrip("%")) / 100
    lost = (won + part * BASE_RIGHT * (1 - won)) / (1 - part * (1 - BASE_RIGHT))
    return Population(error, wrong, lost, won)


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of relative tolerances on judges, and of several judges."""
    # statsmodels collects garbage in each kappa: nine tenths of the time.
    with mock.patch.object(gc, "collect", return_value=0):
        return [*relative(settings), *decided(settings), *several(settings)]


def relative(settings: Settings) -> list[Row]:
    """Return how often a tolerance in per cent is proven at its limit."""
    found = []
    for share, won in LIMITS[1:2] if settings.fast else LIMITS:
        for error, wrong in ERRORS[:1] if settings.fast else ERRORS:
            population = at_share(error, wrong, share, won)
            found += _labelled(settings, population, share)
            found += _calibrated(settings, population, share)
    return found


def _gate(share: str) -> float:
    return float(share.rstrip("%")) / 100


def _labelled(settings: Settings, population: Population, share: str) -> list[Row]:
    found = []
    for n in LABELLED[:1] if settings.fast else LABELLED:
        rng = settings.rng(f"labels {n} {share} {population} {population.won}")
        reps = max(60, settings.reps // 10)
        hits = 0
        for _ in range(reps):
            pairs = judges.labelled_pairs(population.draw(rng, judges.CASES), n)
            hits += rules.gate(pairs.relative(_gate(share)), 0.0, CONFIDENCE)
        what = f"tolerance {share} of base, labels on {n}, {population}, {population.won:g} won"
        found.append(Row("judges", what, str(judges.CASES), *simulated(hits, reps)))
    return found


def _calibrated(settings: Settings, population: Population, share: str) -> list[Row]:
    found = []
    for labels, cases in CALIBRATED[:1] if settings.fast else CALIBRATED:
        rng = settings.rng(f"calibrated {labels} {share} {population} {population.won}")
        reps = max(60, settings.reps // 20)
        hits = 0
        for _ in range(reps):
            sample = judges.calibration_of(population.draw(rng, labels))
            judged = judges.judged_pairs(population.draw(rng, cases))
            pairs = replace(judged, calibration=sample).relative(_gate(share))
            # The test is the interval's inversion: one look at it says all.
            hits += pairs.interval(CONFIDENCE).low > 0
        what = f"tolerance {share} of base, calibration of {labels}, {population}"
        what = f"{what}, {population.won:g} won"
        found.append(Row("judges", what, str(cases), *simulated(hits, reps)))
    return found


def decided(settings: Settings) -> list[Row]:
    """Return false SHIPs of whole runs whose tolerance in per cent is exactly used up."""
    found = []
    cells = [("10%", 200, 400), ("20%", 200, 200)]
    for share, labels, cases in cells[:1] if settings.fast else cells:
        for how in HOW[:1] if settings.fast else HOW:
            population = at_share("lenient", 0.03, share, 0.0)
            rng = settings.rng(f"decided {share} {how}")
            reps = max(30, settings.reps // 50)
            gate = Gate(metric="tone", kind="tolerance", margin=share)
            shipped = 0
            for _ in range(reps):
                known, columns = population.draw(rng, labels), population.draw(rng, cases)
                part = judged_gate(gate, known, columns)
                said = judges.label_lines(columns, labels) if how.startswith("labels") else []
                shipped += _decided([part], said).verdict is Verdict.SHIP
            what = f"false SHIP, {how}: {labels} pairs, {population}, {share} of base"
            found.append(Row("judges", what, str(cases), *simulated(shipped, reps)))
    return found


def judged_gate(gate: Gate, known: JudgedColumns, columns: JudgedColumns) -> Gated:
    """Return a gate on a judge with what is known of it, and what it says of the run's answers."""
    calibration = judges.calibration_record(known).model_copy(update={"metric": gate.metric})
    judge = JudgeRecord(name="rubric", prompt_sha256=gate.metric, calibration=calibration)
    metric = judges.JUDGED.model_copy(
        update={"name": gate.metric, "use": gate.metric, "judge": judge}
    )
    return Gated(metric, gate, (columns.base_judged, columns.tuned_judged))


def _decided(parts: Sequence[Gated], said: Sequence[Label] = ()) -> VerdictRecord:
    """Return how a run ends that asks all cases, as runs with judges do."""
    suites = {"s": parts}
    return decide_run(
        whole.manifest_of(suites), whole.cases_of(suites), whole.rows_of(suites), labels=said
    )


def several(settings: Settings) -> list[Row]:
    """Return the errors of runs with two calibrated judges, each of a metric of its own.

    One loses its tolerance and the other holds, or nothing changed and both judges are harsh on
    tuned, which without their calibrations would be regressions. A run counts as wrong only if the
    gates in question count: those of a judge that errs too much are advisory.
    """
    broken = Population("lenient", 0.03, TOLERANCE)
    fine = Population("lenient", 0.03, 0.02, 0.1)
    same = Population("harsh", 0.03, 0.08, 0.08)
    cells = [
        ("false SHIP, 2 judges, one metric worse by its tolerance", Verdict.SHIP, (broken, fine)),
        ("false SHIP, 2 judges, both worse by their tolerance", Verdict.SHIP, (broken, broken)),
        ("false BLOCK, 2 judges, both harsh on tuned, no change", Verdict.BLOCK, (same, same)),
    ]
    found = []
    for what, wrong, populations in cells[2:] if settings.fast else cells:
        for shared in (False,) if settings.fast else (False, True):
            rng = settings.rng(f"several {what} {shared}")
            reps = max(30, settings.reps // 50)
            hits = count = 0
            for _ in range(reps):
                record = _decided(_judged_run(rng, populations, shared=shared))
                judged = not record.suites[0].gates[1].advisory
                count += judged
                hits += judged and record.verdict is wrong
            said = f"{what}, {'the same' if shared else 'other'} labelled answers"
            note = f"its gate counts in {count / reps:.2f} of the runs"
            found.append(Row("judges", said, str(CASES), *simulated(hits, reps), note=note))
    return found


def _judged_run(
    rng: np.random.Generator, populations: Sequence[Population], *, shared: bool
) -> list[Gated]:
    """Return a far exceeded goal, and a tolerance on each judge.

    Args:
        rng: Generator.
        populations: Answers and judge of each metric.
        shared: Whether the judges err on the same answers, of the calibration and of the run.
    """
    found = [whole.gated("goal", "gain", 0.0, flips(rng, CASES, 0.5, 0.05), rules.ZERO_ONE)]
    seeds = rng.integers(2**32, size=len(populations))
    for name, population, seed in zip(NAMES, populations, seeds, strict=True):
        own = np.random.default_rng(int(seeds[0]) if shared else int(seed))
        known, columns = population.draw(own, 200), population.draw(own, CASES)
        gate = Gate(metric=name, kind="tolerance", margin=TOLERANCE)
        found.append(judged_gate(gate, known, columns))
    return found
