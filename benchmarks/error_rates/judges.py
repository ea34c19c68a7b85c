"""Judges: gates on a judge's scores that people's labels correct.

The truth is 0/1 for both arms, and so is what the judge says of it. The true difference is exactly
the gate's margin, and a pass is false. In runs of two judges each has a calibration of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import rules, runs
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.comparison.calibrated_level import CalibrationSample
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.gating.judge_eligibility import calibrated_pairs, judge_eligibility
from tunegate.harness.judges.calibrating import rates as calibration_rates
from tunegate.harness.judges.calibrating.rates import JudgedLabel
from tunegate.harness.records.calibration import Calibration, CanaryResult
from tunegate.harness.records.cases import Case
from tunegate.harness.records.labels import Label
from tunegate.harness.records.manifest import Gate, JudgeRecord, MetricRecord
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.judge_accuracy import accuracy

Floats = NDArray[np.float64]

CONFIDENCE = 0.90
CASES = 1000
LABELS = (50, 100, 200)
BASE_RIGHT = 0.7
JUDGED = rules.metric(name="tone").model_copy(
    update={"judge": JudgeRecord(name="rubric", prompt_sha256="p")}
)


@dataclass(frozen=True, slots=True)
class JudgedColumns:
    """What is true of both arms' answers, and what the judge says of them."""

    base: Floats
    tuned: Floats
    base_judged: Floats
    tuned_judged: Floats
    clusters: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Population:
    """Pairs of answers, and a judge of them.

    Tuned loses on `lost` of the cases and wins on `won` of them. The judge errs on `share` of
    tuned's answers: `lenient` calls them right, `harsh` wrong, `flip` the opposite of what they
    are, and `both` does so for both arms.
    """

    error: str
    share: float
    lost: float
    won: float = 0.0
    together: int = 1
    """Cases per cluster; tuned wins or loses all of them together, and so do the judge's errors."""

    @property
    def truth(self) -> float:
        """The true difference."""
        return self.won - self.lost

    def draw(self, rng: np.random.Generator, n: int) -> JudgedColumns:
        """Return n pairs."""
        shared = rng.random((3, -(-n // self.together)))
        kind, wrong, wrong_base = np.repeat(shared, self.together, axis=1)[:, :n]
        won, lost = kind < self.won, kind > 1 - self.lost
        errs, base_errs = wrong < self.share, (wrong_base < self.share) & (self.error == "both")
        names = tuple(str(i // self.together) for i in range(n)) if self.together > 1 else None
        base = (rng.random(n) < BASE_RIGHT).astype(float)
        base = np.where(won, 0.0, np.where(lost, 1.0, base))
        tuned = np.where(won, 1.0, np.where(lost, 0.0, base))
        says = {"lenient": np.ones(n), "harsh": np.zeros(n)}.get(self.error, 1 - tuned)
        return JudgedColumns(
            base,
            tuned,
            np.where(base_errs, 1 - base, base),
            np.where(errs, says, tuned),
            names,
        )

    def __str__(self) -> str:
        """Return it in words."""
        whom = "both arms" if self.error == "both" else "tuned"
        kind = f"clusters of {self.together}, " if self.together > 1 else ""
        return f"{kind}{self.error} on {100 * self.share:g} % of {whom}"


CORRECTED = (
    Population("lenient", 0.05, 0.1, 0.1),
    Population("lenient", 0.2, 0.1, 0.1),
    Population("harsh", 0.2, 0.1, 0.1),
    Population("lenient", 0.1, 0.05),
    Population("lenient", 0.2, 0.1),
    Population("flip", 0.02, 0.1),
    Population("both", 0.1, 0.02),
)
"""Judges that labels on the run correct."""


CALIBRATED = (
    Population("lenient", 0.01, 0.1),
    Population("lenient", 0.1, 0.1),
    Population("harsh", 0.1, 0.1),
    Population("flip", 0.02, 0.1),
    Population("both", 0.04, 0.1),
    Population("both", 0.04, 0.15, 0.05),
    Population("lenient", 0.1, 0.1, 0.1),
    Population("harsh", 0.1, 0.1, 0.1),
    Population("lenient", 0.05, 0.1, together=5),
)
"""Judges that a calibration of the same population corrects, for tolerances and gains."""
CALIBRATIONS = ((50, 1000), (100, 200), (200, 1000), (400, 200))
"""Labelled pairs of a calibration, and cases of the run."""


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of gates on judges."""
    return [
        *corrected(settings),
        *relative(settings),
        *calibrated(settings),
        *several(settings),
        *other_candidate(settings),
    ]


def calibrated(settings: Settings) -> list[Row]:
    """Return the rates where labels on other pairs of the population correct the judge."""
    sizes = CALIBRATIONS[3:4] if settings.fast else CALIBRATIONS
    table = []
    for labels, cases in sizes:
        for population in CALIBRATED[::4] if settings.fast else CALIBRATED:
            rng = settings.rng(f"calibrated {labels} {cases} {population} {population.truth}")
            reps = max(100, settings.reps // 15)
            truth, low, high, raw = population.truth, 0, 0, 0
            for _ in range(reps):
                sample = calibration_of(population.draw(rng, labels))
                judged = judged_pairs(population.draw(rng, cases))
                raw += judged.interval(CONFIDENCE).low > truth
                if sample.base_labels == sample.tuned_labels:
                    continue  # people saw no difference: the gate is advisory
                # The test is the interval's inversion: one look at it says all.
                interval = replace(judged, calibration=sample).interval(CONFIDENCE)
                low += interval.low > truth
                high += interval.high < truth
            what = f"calibration of {labels}, {population}, difference {truth:+g}"
            note = f"the judge alone {raw / reps:.3f}"
            for end, hits in (("lower", low), ("upper", high)):
                rate, error = simulated(hits, reps)
                table.append(
                    Row("judges", f"{what}, {end} end", str(cases), rate, error, note=note)
                )
                note = ""
    return table


def label_lines(columns: JudgedColumns, n: int) -> list[Label]:
    """Return what people say of the first n pairs."""
    return [
        Label(suite="s", metric="tone", id=str(i), arm=arm, completion="x", label=column[i])
        for i in range(n)
        for arm, column in (("base", columns.base), ("tuned", columns.tuned))
    ]


def calibration_record(columns: JudgedColumns) -> Calibration:
    """Return what a calibration on these pairs says of the judge."""
    labels = label_lines(columns, len(columns.base))
    scores = np.column_stack([columns.base_judged, columns.tuned_judged]).ravel().tolist()
    rows = [JudgedLabel(label, score) for label, score in zip(labels, scores, strict=True)]
    counts = calibration_rates.confusion_table(rows, 0.5)
    agreed = accuracy(counts)
    case = Case(id="0", prompt="p")
    return Calibration(
        metric="tone",
        judge={},
        binding="b",
        labels="labels.jsonl",
        labels_sha256="l",
        good_from=0.5,
        n_labels=len(rows),
        n_unscored=0,
        agreement=calibration_rates.rate_estimate(agreed, len(rows)),
        baseline=0.5,
        balanced_accuracy=None,
        kappa=calibration_rates.cohen_kappa(counts),
        arms=calibration_rates.arm_errors(rows, 0.5),
        differential=calibration_rates.differential_error(
            calibration_rates.paired_differences(rows), 1.0
        ),
        pairs=calibration_rates.labelled_pairs(
            (
                (base.label, tuned.label, base.score, tuned.score)
                for base, tuned in calibration_rates.both_arms(rows)
            ),
            lambda label: case,
        ),
        answers={},
        canaries=CanaryResult(asked=4),
    )


def calibration_of(columns: JudgedColumns) -> CalibrationSample:
    """Return what people and judge say of labelled pairs."""
    return CalibrationSample(
        tuple(columns.base.tolist()),
        tuple(columns.tuned.tolist()),
        tuple(columns.base_judged.tolist()),
        tuple(columns.tuned_judged.tolist()),
        columns.clusters,
    )


def corrected(settings: Settings) -> list[Row]:
    """Return the rates at both ends where people labelled some of the run's own pairs."""
    table = []
    for n in LABELS[:1] if settings.fast else LABELS:
        for population in CORRECTED[::3] if settings.fast else CORRECTED:
            rng = settings.rng(f"judges {n} {population} {population.truth}")
            reps = max(100, settings.reps // 8)
            low, high = 0, 0
            for _ in range(reps):
                pairs = labelled_pairs(population.draw(rng, CASES), n)
                low += rules.gate(pairs, population.truth, CONFIDENCE)
                high += rules.gate(pairs.exchanged(), -population.truth, CONFIDENCE)
            for end, hits in (("lower", low), ("upper", high)):
                rate, error = simulated(hits, reps)
                what = (
                    f"labels on {n} of {CASES}, {population}, difference {population.truth:+g}, "
                    f"{end} end"
                )
                table.append(Row("judges", what, str(n), rate, error))
    return table


def labelled_pairs(columns: JudgedColumns, n: int, of: MetricRecord = JUDGED) -> Pairs:
    """Return judged pairs whose first n, a random sample, people labelled."""
    pairs = judged_pairs(columns, of)
    labels = list(zip(columns.base.tolist(), columns.tuned.tolist(), strict=True))
    return replace(pairs, labels=(*labels[:n], *[None] * (pairs.n - n)))


def judged_pairs(columns: JudgedColumns, of: MetricRecord = JUDGED) -> Pairs:
    """Return the pairs as the judge sees them."""
    base, tuned = columns.base_judged.tolist(), columns.tuned_judged.tolist()
    return rules.pairs_of(base, tuned, of, columns.clusters)


SHARES = ((0.05, 0.0), (0.1, 0.08), (0.2, 0.08))
"""Tolerances as shares of base's level, and shares of the cases that tuned wins."""


def relative(settings: Settings) -> list[Row]:
    """Return how often a tolerance in per cent is proven at its limit, people labelling pairs.

    Base's level is `lost + BASE_RIGHT (1 - won - lost)`, and tuned's is `won - lost` higher.
    """
    table = []
    for part, won in SHARES[1:2] if settings.fast else SHARES:
        lost = (won + part * BASE_RIGHT * (1 - won)) / (1 - part * (1 - BASE_RIGHT))
        for error, wrong in (("lenient", 0.1), ("harsh", 0.1)):
            population = Population(error, wrong, lost, won)
            for n in LABELS[::2]:
                rng = settings.rng(f"labels {n} {part} {population}")
                reps, hits = max(60, settings.reps // 10), 0
                for _ in range(reps):
                    pairs = labelled_pairs(population.draw(rng, CASES), n)
                    hits += rules.gate(pairs.relative(part), 0.0, CONFIDENCE)
                what = f"tolerance {part:.0%} of base, labels on {n}, {population}, {won:g} won"
                table.append(Row("judges", what, str(CASES), *simulated(hits, reps)))
    return table


TOLERANCE, RUN_CASES = 0.1, 400


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
        ("false BLOCK, 2 judges, both harsh on tuned, no change", Verdict.BLOCK, (same, same)),
    ]
    table = []
    for what, wrong, populations in cells[1:] if settings.fast else cells:
        rng = settings.rng(f"several {what}")
        reps = max(30, settings.reps // 50)
        hits = count = 0
        for _ in range(reps):
            record = runs.decided({"s": _judged_run(rng, populations)})
            judged = not record.suites[0].gates[1].advisory
            count += judged
            hits += judged and record.verdict is wrong
        note = f"its gate counts in {count / reps:.2f} of the runs"
        table.append(Row("judges", what, str(RUN_CASES), *simulated(hits, reps), note=note))
    return table


OVERLOOKED = 0.7
"""Share of the losses of a worse candidate that the judge calls right."""


def other_candidate(settings: Settings) -> list[Row]:
    """Return how often a worse candidate passes by a judge that was calibrated on a good one.

    The judge overlooks most of what it loses, exactly the tolerance. Its answers are others than
    those that people labelled, on all cases or on those that it loses.
    """
    table = []
    gate = Gate(metric="tone", kind="tolerance", margin=TOLERANCE)
    for changed, name in ((True, "all answers"), (False, "only those lost")):
        what = f"false pass, calibrated on another candidate, {name} differ"
        rng = settings.rng(f"judges {what}")
        reps = max(30, settings.reps // 100)
        hits = loose = 0
        for _ in range(reps):
            worse = _overlooked(rng, RUN_CASES)
            lost = worse.tuned < worse.base
            now = {str(i): str(changed or gone) for i, gone in enumerate(lost.tolist())}
            calibration = calibration_record(Population("lenient", 0.03, 0.08, 0.08).draw(rng, 200))
            labelled = {str(i): "False" for i in range(200)}
            calibration = calibration.model_copy(update={"answers": labelled})
            judge = JudgeRecord(name="rubric", prompt_sha256="p", calibration=calibration)
            pairs = judged_pairs(worse, JUDGED.model_copy(update={"judge": judge}))
            passed = rules.gate(calibrated_pairs(pairs), -TOLERANCE, CONFIDENCE)
            loose += passed
            hits += passed and judge_eligibility(gate, pairs, now).counts
        note = f"if it were not bound to its answers {loose / reps:.2f}"
        table.append(Row("judges", what, str(RUN_CASES), *simulated(hits, reps), note=note))
    return table


def _overlooked(rng: np.random.Generator, n: int) -> JudgedColumns:
    """Return pairs that lose the tolerance, most of it overlooked."""
    base = (rng.random(n) < BASE_RIGHT).astype(float)
    lost = (rng.random(n) < TOLERANCE / BASE_RIGHT) & (base > 0)
    tuned = np.where(lost, 0.0, base)
    seen = np.where(lost & (rng.random(n) < OVERLOOKED), 1.0, tuned)
    return JudgedColumns(base, tuned, base, seen)


def _judged_run(rng: np.random.Generator, populations: Sequence[Population]) -> list[runs.Gated]:
    """Return a far exceeded goal, and a tolerance on each judge."""
    goal = runs.flips(rng, RUN_CASES, 0.5, 0.05)
    parts = [runs.gated("goal", "gain", 0.0, goal, rules.ZERO_ONE)]
    for name, population in zip(("tone", "rubric"), populations, strict=True):
        columns = population.draw(rng, RUN_CASES)
        calibration = calibration_record(population.draw(rng, 200)).model_copy(
            update={"metric": name}
        )
        judge = JudgeRecord(name="rubric", prompt_sha256=name, calibration=calibration)
        metric = JUDGED.model_copy(update={"name": name, "use": name, "judge": judge})
        gate = Gate(metric=name, kind="tolerance", margin=TOLERANCE)
        parts.append(runs.Gated(metric, gate, (columns.base_judged, columns.tuned_judged)))
    return parts
