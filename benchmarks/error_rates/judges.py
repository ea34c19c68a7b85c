"""Judges: gates on a judge's scores that people's labels correct.

The truth is 0/1 for both arms, and so is what the judge says of it. The true difference is exactly
the gate's margin, and a pass is false. The oracle knows the truth of all cases, so that it needs no
judge: what it has more of power is the price of labels on some of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import rules
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.comparison.labelled_level import CalibrationSample
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.records.manifest import JudgeRecord, MetricRecord

Floats = NDArray[np.float64]

CONFIDENCE = 0.90
CASES = 1000
LABELS = (50, 100, 200)
BASE_RIGHT = 0.7
WORTH = 0.1
"""How far beyond the margin the true difference lies where power is measured."""
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

    @property
    def truth(self) -> float:
        """The true difference."""
        return self.won - self.lost

    def draw(self, rng: np.random.Generator, n: int) -> JudgedColumns:
        """Return n pairs."""
        kind, wrong, wrong_base = rng.random((3, n))
        base = (rng.random(n) < BASE_RIGHT).astype(float)
        won, lost = kind < self.won, kind > 1 - self.lost
        base = np.where(won, 0.0, np.where(lost, 1.0, base))
        tuned = np.where(won, 1.0, np.where(lost, 0.0, base))
        says = {"lenient": np.ones(n), "harsh": np.zeros(n)}.get(self.error, 1 - tuned)
        base_errs = (wrong_base < self.share) & (self.error == "both")
        return JudgedColumns(
            base,
            tuned,
            np.where(base_errs, 1 - base, base),
            np.where(wrong < self.share, says, tuned),
        )

    def __str__(self) -> str:
        """Return it in words."""
        whom = "both arms" if self.error == "both" else "tuned"
        return f"{self.error} on {100 * self.share:g} % of {whom}"


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
)
"""Judges that a calibration of the same population corrects; the last two are for a gain."""
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
    return [*corrected(settings), *calibrated(settings)]


def calibrated(settings: Settings) -> list[Row]:
    """Return the rates where labels on other pairs of the population correct the judge."""
    sizes = CALIBRATIONS[3:4] if settings.fast else CALIBRATIONS
    found = []
    same = [(population, population) for population in CALIBRATED]
    for labels, cases in sizes:
        for known, population in (*same, *ELSEWHERE):
            rng = settings.rng(f"calibrated {labels} {cases} {known} {known.truth} {population}")
            reps = max(100, settings.reps // 10)
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


def calibration_of(columns: JudgedColumns) -> CalibrationSample:
    """Return what people and judge say of labelled pairs."""
    return CalibrationSample(
        tuple(columns.base.tolist()),
        tuple(columns.tuned.tolist()),
        tuple(columns.base_judged.tolist()),
        tuple(columns.tuned_judged.tolist()),
    )


def corrected(settings: Settings) -> list[Row]:
    """Return the rates at both ends where people labelled some of the run's own pairs."""
    found = []
    for n in LABELS[:1] if settings.fast else LABELS:
        for population in CORRECTED:
            rng = settings.rng(f"judges {n} {population} {population.truth}")
            reps = max(100, settings.reps // 5)
            low, high, power, best = (0,) * 4
            for _ in range(reps):
                pairs = labelled_pairs(population.draw(rng, CASES), n)
                low += rules.gate(pairs, population.truth, CONFIDENCE)
                high += rules.gate(pairs.exchanged(), -population.truth, CONFIDENCE)
                power += rules.gate(pairs, population.truth - WORTH, CONFIDENCE)
            for _ in range(100):
                best += rules.gate(oracle(population.draw(rng, CASES)), population.truth - WORTH,
                                   CONFIDENCE)  # fmt: skip
            note = f"power {power / reps:.3f} at {WORTH:+g}, oracle {best / 100:.2f}"
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
    return rules.pairs_of(columns.base_judged.tolist(), columns.tuned_judged.tolist(), of)


def oracle(columns: JudgedColumns) -> Pairs:
    """Return the pairs that people would label, all of them."""
    return rules.pairs_of(columns.base.tolist(), columns.tuned.tolist(), rules.ZERO_ONE)
