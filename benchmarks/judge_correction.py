"""A judge that is kinder to tuned, set right by labels: `python -m benchmarks.judge_correction`.

Judge and truth are simulated: 1,000 pairs a run; people label both answers of 100, drawn at
random. The judge recognises right and wrong answers with a known sensitivity and specificity,
which differ between the arms in all rows but the first two. Three ways to the difference are
compared: the judge's verdicts alone, the labels alone (Tango's interval for both), and PPI++.

The exit code is 1 if the corrected 90 % interval covers the truth in fewer than 88 % of the runs.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

from tunegate.harness.stats.binary import tango_interval
from tunegate.harness.stats.ppi import ppi_interval
from tunegate.harness.stats.types import Interval

PAIRS, LABELS = 1_000, 100
LEAST_COVERED = 0.88
BASE_RIGHT = 0.6
ALIKE = 0.5
"""Share of the cases on which tuned's answer is right exactly where base's is."""
Column = NDArray[np.float64]
Rates = tuple[float, float]
"""How often right answers are called right, and wrong ones wrong."""
JUDGES: dict[str, tuple[Rates, Rates, float]] = {
    "equal for both, delta .10": ((0.90, 0.85), (0.90, 0.85), 0.10),
    "noisy for both, delta .10": ((0.80, 0.70), (0.80, 0.70), 0.10),
    "lenient on tuned, delta 0": ((0.90, 0.85), (0.95, 0.60), 0.0),
    "lenient on tuned, delta -.05": ((0.90, 0.85), (0.95, 0.60), -0.05),
    "harsh on tuned, delta .10": ((0.90, 0.85), (0.75, 0.95), 0.10),
}
"""Judge → its rates on base and on tuned, and the true difference."""


def main() -> int:
    """Print the table; return 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge_correction")
    parser.add_argument("--runs", type=int, default=2_000, help="simulated runs a row (2000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulations (1)")
    parsed = parser.parse_args()
    kept = True
    print(f"{'':<30} {'judge alone':>14} {'labels alone':>14} {'PPI++':>14}  mean widths")
    for number, (name, (base, tuned, delta)) in enumerate(JUDGES.items()):
        rng = np.random.default_rng([parsed.seed, number])
        intervals = [_intervals(base, tuned, delta, rng) for _ in range(parsed.runs)]
        covered = np.mean([[i.low <= delta <= i.high for i in row] for row in intervals], axis=0)
        widths = np.mean([[i.width for i in row] for row in intervals], axis=0)
        good = bool(covered[2] >= LEAST_COVERED)
        kept = kept and good
        rates = " ".join(f"{rate:>14.3f}" for rate in covered)
        wide = " ".join(f"{width:>7.3f}" for width in widths)
        print(f"{name:<30} {rates}  {wide}  {'' if good else 'FAIL'}")
    return int(not kept)


def _intervals(
    base: Rates, tuned: Rates, delta: float, rng: np.random.Generator
) -> tuple[Interval, Interval, Interval]:
    """Return the judge's interval, that of the labels, and the corrected one, of one run."""
    right = (rng.random(PAIRS) < BASE_RIGHT).astype(float)
    # Tuned is base on a share of the cases, else drawn again at the rate that makes the difference.
    other = (rng.random(PAIRS) < BASE_RIGHT + delta / (1 - ALIKE)).astype(float)
    tuned_right = np.where(rng.random(PAIRS) < ALIKE, right, other)
    seen = _judged(tuned_right, tuned, rng) - _judged(right, base, rng)
    truth = tuned_right - right
    # The cases are alike, so the first ones are a random sample.
    corrected = ppi_interval(truth[:LABELS], seen[:LABELS], seen[LABELS:], bound=1.0)
    return _tango(seen), _tango(truth[:LABELS]), corrected


def _judged(right: Column, rates: Rates, rng: np.random.Generator) -> Column:
    sensitivity, specificity = rates
    yes = np.where(right == 1, sensitivity, 1 - specificity)
    return (rng.random(PAIRS) < yes).astype(float)


def _tango(differences: Column) -> Interval:
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return tango_interval(wins, losses, differences.size)


if __name__ == "__main__":
    sys.exit(main())
