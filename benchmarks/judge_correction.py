"""A judge that is kinder to tuned, set right by labels: `python -m benchmarks.judge_correction`.

Judge and truth are simulated: 1,000 pairs a run, of which people label both answers of 100, drawn
at random. The judge recognises right and wrong answers with a known sensitivity and specificity,
which differ between the arms in all rows but the first two. Three ways to the difference are
compared: the judge's verdicts alone, the labels alone (Tango's interval for both), and PPI++.

The run fails if, where the judge is lenient on tuned, the naive interval misses the truth in fewer
than 95 % of the runs, or the corrected 90 % interval covers it in fewer than 88 %, in any row.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunegate.harness.stats.binary import tango_interval
from tunegate.harness.stats.ppi import ppi_interval
from tunegate.harness.stats.types import Interval

PAIRS, LABELS, RUNS = 1_000, 100, 2_000
LEAST_WRONG, LEAST_COVERED = 0.95, 0.88
BASE_RIGHT = 0.6
ALIKE = 0.5
"""Share of the cases on which tuned's answer is right exactly where base's is."""

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SimulatedJudge:
    """How often each arm's right answers are called right, and its wrong ones wrong."""

    name: str
    base: tuple[float, float]
    tuned: tuple[float, float]
    delta: float
    """The true difference."""
    lenient: bool = False
    """Whether the naive interval must fail."""


JUDGES = (
    SimulatedJudge("equal for both, delta .10", (0.90, 0.85), (0.90, 0.85), 0.10),
    SimulatedJudge("noisy for both, delta .10", (0.80, 0.70), (0.80, 0.70), 0.10),
    SimulatedJudge("lenient on tuned, delta 0", (0.90, 0.85), (0.95, 0.60), 0.0, lenient=True),
    SimulatedJudge("lenient on tuned, delta -.05", (0.90, 0.85), (0.95, 0.60), -0.05, lenient=True),
    SimulatedJudge("harsh on tuned, delta .10", (0.90, 0.85), (0.75, 0.95), 0.10),
)


@dataclass(frozen=True, slots=True)
class CorrectionRow:
    """How often each interval held the truth, and how wide it was on average."""

    judge: SimulatedJudge
    covered: tuple[float, float, float]
    """Naive, labels alone, PPI++."""
    width: tuple[float, float, float]

    @property
    def passed(self) -> bool:
        """Whether the promises of this benchmark are kept."""
        naive, _, corrected = self.covered
        return corrected >= LEAST_COVERED and (not self.judge.lenient or 1 - naive >= LEAST_WRONG)


def measure(judge: SimulatedJudge, *, runs: int = RUNS, seed: int = 1) -> CorrectionRow:
    """Simulate runs with one judge."""
    rng = np.random.default_rng([seed, JUDGES.index(judge)])
    found = [_run(judge, rng) for _ in range(runs)]
    held = [[i.low <= judge.delta <= i.high for i in row] for row in found]
    widths = [[i.width for i in row] for row in found]
    return CorrectionRow(judge, _means(held), _means(widths))


def _means(rows: list[list[bool]] | list[list[float]]) -> tuple[float, float, float]:
    naive, labels, both = np.asarray(rows, dtype=float).mean(axis=0)
    return float(naive), float(labels), float(both)


def _run(judge: SimulatedJudge, rng: np.random.Generator) -> list[Interval]:
    base, tuned = _truth(judge.delta, rng)
    seen = _judged(tuned, judge.tuned, rng) - _judged(base, judge.base, rng)
    truth = tuned - base
    # The cases are alike, so the first ones are a random sample.
    corrected = ppi_interval(truth[:LABELS], seen[:LABELS], seen[LABELS:], bound=1.0)
    return [_tango(seen), _tango(truth[:LABELS]), corrected]


def _truth(delta: float, rng: np.random.Generator) -> tuple[Column, Column]:
    """Return whether each arm's answers are right: tuned's in delta more of them, on average."""
    base = (rng.random(PAIRS) < BASE_RIGHT).astype(float)
    # tuned = base on a share of the cases, else drawn anew at the rate that makes the difference
    other = (rng.random(PAIRS) < BASE_RIGHT + delta / (1 - ALIKE)).astype(float)
    return base, np.where(rng.random(PAIRS) < ALIKE, base, other)


def _judged(right: Column, rates: tuple[float, float], rng: np.random.Generator) -> Column:
    sensitivity, specificity = rates
    yes = np.where(right == 1, sensitivity, 1 - specificity)
    return (rng.random(PAIRS) < yes).astype(float)


def _tango(differences: Column) -> Interval:
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return tango_interval(wins, losses, differences.size)


def main() -> int:
    """Print the table; return 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge_correction")
    parser.add_argument("--runs", type=int, default=RUNS, help="simulated runs a row (2000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulations (1)")
    parsed = parser.parse_args()
    print(f"{'judge':<30} {'share of 90 % intervals that hold the truth':^45} {'mean width':^24}")
    print(f"{'':<30} {'judge alone':>14} {'labels alone':>14} {'PPI++':>14}  {'(the same)':^24}")
    rows = [measure(judge, runs=parsed.runs, seed=parsed.seed) for judge in JUDGES]
    for row in rows:
        rates = " ".join(f"{rate:>14.3f}" for rate in row.covered)
        widths = " ".join(f"{width:>7.3f}" for width in row.width)
        print(f"{row.judge.name:<30} {rates}  {widths}  {'' if row.passed else 'FAIL'}")
    return int(not all(row.passed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
