"""Judges: gates on a judge's scores that people's labels correct.

The truth is 0/1 for both arms, and so is what the judge says of it. The true difference is exactly
the gate's margin, and a pass is false. The oracle knows the truth of all cases, so that it needs no
judge: what it has more of power is the price of labels on some of them.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import looks, rules, whole
from benchmarks.error_rates.runs import Gated
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.comparison.labelled_level import CalibrationSample
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.judging import calibration_rates
from tunegate.harness.judging.calibration_rates import JudgedLabel
from tunegate.harness.records.cases import Case
from tunegate.harness.records.judges import LEAST_PAIRS, Calibration, CanaryResult, Label
from tunegate.harness.records.manifest import Gate, JudgeRecord, MetricRecord
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.group_sequential import look_sizes
from tunegate.harness.stats.judge_accuracy import accuracy
from tunegate.harness.stats.ppi import ppi_interval
from tunegate.harness.verdict.decide import decide_run

Floats = NDArray[np.float64]

CONFIDENCE = 0.90
CASES = 1000
LABELS = (50, 100, 200)
BASE_RIGHT = 0.7
WORTH = 0.1
"""How far beyond the margin the true difference is where power is measured."""
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
    """Cases of a cluster, all of which tuned wins or loses, and the judge errs on, alike."""
    graded: bool = False
    """Whether answers have five grades, of which tuned loses or wins, and the judge errs by, one:
    the difference is then a quarter of that of right and wrong answers."""

    @property
    def truth(self) -> float:
        """The true difference."""
        return (self.won - self.lost) * (0.25 if self.graded else 1.0)

    def draw(self, rng: np.random.Generator, n: int) -> JudgedColumns:
        """Return n pairs."""
        shared = rng.random((3, -(-n // self.together)))
        kind, wrong, wrong_base = np.repeat(shared, self.together, axis=1)[:, :n]
        won, lost = kind < self.won, kind > 1 - self.lost
        errs, base_errs = wrong < self.share, (wrong_base < self.share) & (self.error == "both")
        names = tuple(str(i // self.together) for i in range(n)) if self.together > 1 else None
        if self.graded:
            base = rng.integers(1, 4, n) / 4
            tuned = base + np.where(won, 0.25, np.where(lost, -0.25, 0.0))
            step = {"lenient": 0.25, "harsh": -0.25}[self.error]
            judged = np.clip(np.where(errs, tuned + step, tuned), 0, 1)
            return JudgedColumns(base, tuned, base, judged, names)
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
        kind = "graded, " if self.graded else ""
        kind += f"clusters of {self.together}, " if self.together > 1 else ""
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
    Population("lenient", 0.3, 0.4, graded=True),
    Population("harsh", 0.1, 0.4, 0.2, graded=True),
    Population("lenient", 0.05, 0.1, together=5),
)
"""Judges that a calibration of the same population corrects, for tolerances and gains."""
ELSEWHERE = (
    (Population("both", 0.06, 0.1, 0.1), Population("both", 0.06, 0.1)),
    (Population("both", 0.06, 0.02, 0.02), Population("both", 0.06, 0.1)),
    (Population("flip", 0.03, 0.1, 0.1), Population("flip", 0.03, 0.1)),
    (Population("lenient", 0.06, 0.02, 0.22), Population("lenient", 0.06, 0.1)),
)
"""Calibrations on a fine-tune that loses nothing, and the run of one that loses its tolerance."""
CALIBRATIONS = ((50, 1000), (100, 200), (200, 1000), (400, 200))
"""Labelled pairs of a calibration, and cases of the run."""


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of gates on judges."""
    # statsmodels collects garbage in each kappa: nine tenths of the time.
    with mock.patch.object(gc, "collect", return_value=0):
        return [
            *corrected(settings),
            *looked(settings),
            *calibrated(settings),
            *decided(settings),
        ]


LOOKED = ((400, 0.5), (1000, 0.2))
"""Planned cases of a run with looks, and the share of them that people labelled."""


def looked(settings: Settings) -> list[Row]:
    """Return the rates at the lower end over all looks, with labels at each of them."""
    found = []
    for planned, share in LOOKED[:1] if settings.fast else LOOKED:
        sizes = tuple(look_sizes(planned, first=LEAST_PAIRS))
        for population in CORRECTED[4:6]:
            rng = settings.rng(f"judges with looks {planned} {population}")
            reps = max(60, settings.reps // 10)
            hits = sum(_ever_proven(population, sizes, share, rng) for _ in range(reps))
            what = f"labels on {100 * share:g} %, {population}, {len(sizes)} looks, lower end"
            rate, error = simulated(hits, reps)
            found.append(Row("judges", what, str(planned), rate, error))
    return found


def _ever_proven(
    population: Population, sizes: tuple[int, ...], share: float, rng: np.random.Generator
) -> bool:
    """Return whether any look takes a difference beyond the truth for proven."""
    columns = population.draw(rng, sizes[-1])
    known = rng.random(sizes[-1]) < share
    human, judge = columns.tuned - columns.base, columns.tuned_judged - columns.base_judged
    for size, confidence in zip(sizes, looks.confidences(sizes), strict=True):
        seen = known[:size]
        if seen.sum() < LEAST_PAIRS:
            continue  # the gate is advisory
        columns_seen = human[:size][seen], judge[:size][seen], judge[:size][~seen]
        if ppi_interval(*columns_seen, confidence=confidence, bound=1.0).low > population.truth:
            return True
    return False


def calibrated(settings: Settings) -> list[Row]:
    """Return the rates where labels on other pairs of the population correct the judge."""
    sizes = CALIBRATIONS[3:4] if settings.fast else CALIBRATIONS
    found = []
    cells = [*((population, population) for population in CALIBRATED), *ELSEWHERE]
    for labels, cases in sizes:
        for known, population in cells[::4] if settings.fast else cells:
            rng = settings.rng(f"calibrated {labels} {cases} {known} {known.truth} {population}")
            reps = max(100, settings.reps // 15)
            truth, low, high, power, raw = population.truth, 0, 0, 0, 0
            for _ in range(reps):
                sample = calibration_of(known.draw(rng, labels))
                judged = judged_pairs(population.draw(rng, cases))
                raw += judged.interval(CONFIDENCE).low > truth
                if sample.base_labels == sample.tuned_labels:
                    continue  # people saw no difference: the gate is advisory
                # The test is the interval's inversion: one look at it says all.
                interval = replace(judged, calibration=sample).interval(CONFIDENCE)
                low += interval.low > truth
                high += interval.high < truth
                power += interval.low > truth - WORTH
            whose = "" if known is population else f", calibrated at {known.truth:+g}"
            what = f"calibration of {labels}{whose}, {population}, difference {truth:+g}"
            note = f"the judge alone {raw / reps:.3f}; power {power / reps:.3f} at {WORTH:+g}"
            for end, hits in (("lower", low), ("upper", high)):
                rate, error = simulated(hits, reps)
                found.append(
                    Row("judges", f"{what}, {end} end", str(cases), rate, error, note=note)
                )
                note = ""
    return found


DECIDED = (
    (200, 200, Population("lenient", 0.15, 0.1)),
    (200, 400, Population("lenient", 0.1, 0.1)),
)
"""Labelled pairs, cases and judges of whole runs."""
TOLERANCE = 0.1
HOW = ("calibrated", "calibrated, with looks", "labels on the run")


def decided(settings: Settings) -> list[Row]:
    """Return false SHIPs of whole runs, from the calibration's figures to the verdict."""
    found = []
    for labels, cases, population in DECIDED[:1] if settings.fast else DECIDED:
        for how in HOW[:1] if settings.fast else HOW:
            rng = settings.rng(f"decided {labels} {cases} {population} {how}")
            reps = max(30, settings.reps // 50)
            shipped = sum(
                _verdict(population, rng, labels, cases, how) is Verdict.SHIP for _ in range(reps)
            )
            rate, error = simulated(shipped, reps)
            what = f"false SHIP, {how}: {labels} pairs, {population}, worse by the tolerance"
            found.append(Row("judges", what, str(cases), rate, error))
    return found


def _verdict(
    population: Population, rng: np.random.Generator, labels: int, cases: int, how: str
) -> Verdict:
    known = calibration_record(population.draw(rng, labels))
    columns = population.draw(rng, cases)
    judge = JudgeRecord(name="rubric", prompt_sha256="p", calibration=known)
    metric = JUDGED.model_copy(update={"judge": judge})
    gate = Gate(metric="tone", kind="tolerance", margin=TOLERANCE)
    part = Gated(metric, gate, (columns.base_judged, columns.tuned_judged))
    if how.endswith("looks"):
        return whole.looked_verdict([part], "primary")
    suites = {"s": [part]}
    said = label_lines(columns, labels) if how.startswith("labels") else []
    return decide_run(
        whole.manifest_of(suites), whole.cases_of(suites), whole.rows_of(suites), labels=said
    ).verdict


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
    found = []
    for n in LABELS[:1] if settings.fast else LABELS:
        for population in CORRECTED[::3] if settings.fast else CORRECTED:
            rng = settings.rng(f"judges {n} {population} {population.truth}")
            reps = max(100, settings.reps // 8)
            low, high, power, best = (0,) * 4
            for _ in range(reps):
                pairs = labelled_pairs(population.draw(rng, CASES), n)
                low += rules.gate(pairs, population.truth, CONFIDENCE)
                high += rules.gate(pairs.exchanged(), -population.truth, CONFIDENCE)
                power += rules.gate(pairs, population.truth - WORTH, CONFIDENCE)
            for _ in range(20):
                best += rules.gate(oracle(population.draw(rng, CASES)), population.truth - WORTH,
                                   CONFIDENCE)  # fmt: skip
            note = f"power {power / reps:.3f} at {WORTH:+g}, oracle {best / 20:.2f}"
            for end, hits in (("lower", low), ("upper", high)):
                rate, error = simulated(hits, reps)
                what = (
                    f"labels on {n} of {CASES}, {population}, difference {population.truth:+g}, "
                    f"{end} end"
                )
                found.append(Row("judges", what, str(n), rate, error, note=note))
                note = ""
    return found


def labelled_pairs(columns: JudgedColumns, n: int, of: MetricRecord = JUDGED) -> Pairs:
    """Return judged pairs whose first n, a random sample, people labelled."""
    pairs = judged_pairs(columns, of)
    labels = list(zip(columns.base.tolist(), columns.tuned.tolist(), strict=True))
    return replace(pairs, labels=(*labels[:n], *[None] * (pairs.n - n)))


def judged_pairs(columns: JudgedColumns, of: MetricRecord = JUDGED) -> Pairs:
    """Return the pairs as the judge sees them."""
    base, tuned = columns.base_judged.tolist(), columns.tuned_judged.tolist()
    return rules.pairs_of(base, tuned, of, columns.clusters)


def oracle(columns: JudgedColumns) -> Pairs:
    """Return the pairs that people would label, all of them."""
    return rules.pairs_of(columns.base.tolist(), columns.tuned.tolist(), rules.ZERO_ONE)
