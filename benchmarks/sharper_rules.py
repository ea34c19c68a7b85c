"""Which rule for bounded means is sharpest: error, power, and what no rule can better.

    python -m benchmarks.sharper_rules

Every rule tests that the mean of n independent scores from -1 to 1 (cases, or means of clusters of
cases) exceeds a margin, at 5 %. Its error is exact: the highest over populations of three values
whose mean is the margin. Its power is that in populations where nothing is lost.

The last line is a bound on the power of *any* rule with the same error in all populations. For one
population at the margin the most powerful test is that of Neyman and Pearson, and a rule that is
valid everywhere cannot beat it. The populations that are tried lose the whole range in a share of
the units, and the others are tilted until the mean is the margin; the least power counts.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats  # type: ignore[import-untyped]  # scipy ships no types

from benchmarks.error_rates.table import ALPHA, PROMISE
from tunegate.harness.stats.distributions import exponential_sum_tail
from tunegate.harness.stats.paired_mean import fit_units, mean_test

Floats = NDArray[np.float64]
Rule = Callable[[Floats, Floats, float], Floats]
"""(counts of each value in each sample, the values, margin) → p-values."""

WORST = -1.0
MARGINS = (0.0, -0.02, -0.05)
LOSSES, GAINS = (-1.0, -0.8, -0.4), (1.0, 0.8, 0.6, 0.3, 0.1)
SMALL = (-0.4, -0.1, -0.02)
"""Second kind of loss, in addition to total ones."""
MOST_LOSSES = 25
"""Losses beyond which no sample of the enumeration proves anything."""


@dataclass(frozen=True, slots=True)
class SampleMoments:
    """Mean, standard error and skewness over the root of n, of each sample."""

    n: Floats
    mean: Floats
    error: Floats
    skew: Floats


def moments(counts: Floats, values: Floats) -> SampleMoments:
    """Return the moments of samples."""
    n = counts.sum(axis=1)
    mean = counts @ values / n
    apart = values - mean[:, np.newaxis]
    variance = (counts * apart**2).sum(axis=1) / n
    known = np.where(variance > 1e-14, variance, np.inf)
    third = (counts * apart**3).sum(axis=1) / n
    return SampleMoments(n, mean, np.sqrt(variance / (n - 1)), third / known**1.5 / np.sqrt(n))


def _t(found: SampleMoments, margin: float) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(found.mean > margin, (found.mean - margin) / found.error, -np.inf)
    return np.clip(x, -1e9, 1e9)


def paired_t(counts: Floats, values: Floats, margin: float) -> Floats:
    """Student."""
    found = moments(counts, values)
    return np.asarray(special.stdtr(found.n - 1, -_t(found, margin)))


def t_and_hall(counts: Floats, values: Floats, margin: float) -> Floats:
    """Hall (1992), the larger p-value."""
    found = moments(counts, values)
    x, a = _t(found, margin), found.skew
    cubic = x + a * x**2 / 3 + a**2 * x**3 / 27 + a / 6
    return np.asarray(special.stdtr(found.n - 1, -np.minimum(x, cubic)))


def two_worst(counts: Floats, values: Floats, margin: float) -> Floats:
    """Student after -1 and 1 were seen as well."""
    ends = np.ones((len(counts), 2))
    return paired_t(np.hstack([counts, ends]), np.append(values, [-1.0, 1.0]), margin)


def unseen(counts: Floats, values: Floats, margin: float) -> Floats:
    """Student and Hall, and what losses of the whole range explain that were not seen."""

    def p_value(row: Floats) -> float:
        fitted = fit_units(np.repeat(values, row.astype(int)), np.ones(int(row.sum())), 1.0, 1.0)
        return replace(fitted, likelihood=None).p_value(margin)

    return np.array([p_value(row) for row in counts])


def gaffke(counts: Floats, values: Floats, margin: float) -> Floats:
    """Gaffke (2005), Learned-Miller and Thomas (2019)."""
    apart = np.append(margin - values, margin - WORST)
    rows = np.hstack([counts, np.ones((len(counts), 1))])
    return np.array([exponential_sum_tail(apart[row > 0], row[row > 0]) for row in rows])


def betting(counts: Floats, values: Floats, margin: float) -> Floats:
    """Waudby-Smith and Ramdas (2024): a mixture of bets, and Markov's inequality."""
    stakes = np.linspace(0.1, 0.99, 10)[:, np.newaxis]
    growth = counts @ np.log1p(stakes * ((values + 1) / (margin + 1) - 1)).T
    evidence = special.logsumexp(growth, axis=1) - np.log(len(stakes))
    return np.asarray(np.exp(-np.maximum(evidence, 0.0)))


def empirical_bernstein(counts: Floats, values: Floats, margin: float) -> Floats:
    """Maurer and Pontil (2009); 0 or 1, for whether the limit at 5 % clears the margin."""
    found, log = moments(counts, values), math.log(2 / ALPHA)
    less = np.sqrt(2 * log) * found.error + 2 * 7 * log / (3 * (found.n - 1))
    return np.where(found.mean - less > margin, 0.0, 1.0)


def likelihood(counts: Floats, values: Floats, margin: float) -> Floats:
    """Owen (1988), signed root, after the worst value was seen as well (Chen et al. 2008)."""
    rows, apart = np.hstack([counts, np.ones((len(counts), 1))]), np.append(values, WORST) - margin
    low, high = np.zeros(len(rows)), np.full(len(rows), 1 / (margin - WORST))
    for _ in range(60):
        middle = (low + high) / 2
        rising = (rows * apart / (1 + middle[:, np.newaxis] * apart)).sum(axis=1) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    ratio = 2 * (rows * np.log1p(low[:, np.newaxis] * apart)).sum(axis=1)
    return np.asarray(special.ndtr(-np.sqrt(np.maximum(ratio, 0.0))))


def tunegate(counts: Floats, values: Floats, margin: float) -> Floats:
    """The rule of the gate."""
    samples = (np.repeat(values, row.astype(int)) for row in counts)
    return np.array([mean_test(one, margin=margin, bound=1.0).p_value for one in samples])


RULES: tuple[tuple[str, Rule], ...] = (
    ("paired t", paired_t),
    ("t, Hall", t_and_hall),
    ("t, -1 and 1 added", two_worst),
    ("t, Hall, unseen losses", unseen),
    ("tunegate: those and the likelihood", tunegate),
    ("Gaffke", gaffke),
    ("betting", betting),
    ("empirical Bernstein", empirical_bernstein),
    ("empirical likelihood, -1 added", likelihood),
)


def rejects(rule: Rule, counts: Floats, values: Floats, margin: float) -> NDArray[np.bool_]:
    """Return which samples prove that the mean exceeds the margin."""
    found = np.zeros(len(counts), dtype=bool)
    beyond = counts @ values > counts.sum(axis=1) * margin + 1e-9
    if beyond.any():
        found[beyond] = rule(counts[beyond], values, margin) <= ALPHA
    return found


def worst_error(rule: Rule, n: int) -> float:
    """Return the highest exact error over populations of three values with the mean at a margin."""
    kinds = [*product(LOSSES, GAINS), *product((WORST,), SMALL)]
    return max(
        error
        for margin, (first, second) in product(MARGINS, kinds)
        for error in _errors(rule, n, margin, np.array([0.0, first, second]))
    )


def _errors(rule: Rule, n: int, margin: float, values: Floats) -> Iterator[float]:
    pairs = [(i, j) for i in range(MOST_LOSSES) for j in range(n + 1 - i)]
    counts = np.array([(n - i - j, i, j) for i, j in pairs], dtype=np.float64)
    proven = counts[rejects(rule, counts, values, margin)]
    ways = special.gammaln(n + 1) - special.gammaln(proven + 1).sum(axis=1)
    for second in (0.0, *np.geomspace(0.2 / n, 1, 25)):
        first = (margin - values[2] * second) / values[1]
        rest = 1 - first - second
        if first >= 0 and rest >= 0:
            chances = np.array([rest, first, second])
            yield float(np.exp(ways + special.xlogy(proven, chances).sum(axis=1)).sum())


@dataclass(frozen=True, slots=True)
class PowerCell:
    """A population in which nothing is lost, and the margin that is to be proven."""

    name: str
    n: int
    margin: float
    values: Floats
    chances: Floats

    def power(self, rule: Rule, reps: int) -> float:
        """Return how often a rule proves the margin."""
        counts = np.random.default_rng(1).multinomial(self.n, self.chances, reps)
        kinds, times = np.unique(counts, axis=0, return_counts=True)
        proven = rejects(rule, kinds.astype(np.float64), self.values, self.margin)
        return float(times[proven].sum() / reps)

    def most_power(self, error: float, reps: int) -> float:
        """Return a power that no rule exceeds which errs with at most `error` everywhere."""
        mean = float(self.chances @ self.values)
        largest = (mean - self.margin) / (mean - WORST)
        least = 1.0
        for share in np.linspace(0, largest, 13):
            others = (self.margin - share * WORST) / (1 - share)
            tilted = _tilt(self.values, self.chances, others)
            if tilted is not None:
                null = np.append((1 - share) * tilted, share)
                least = min(least, _most_powerful(self, null, error, reps))
        return least


def _tilt(values: Floats, chances: Floats, mean: float) -> Floats | None:
    """Return chances tilted exponentially to another mean, None where no tilt has it."""
    if not values.min() + 1e-9 < mean < values.max():
        return None

    def tilted(angle: float) -> Floats:
        weights = chances * np.exp(angle * values - np.max(angle * values))
        return np.asarray(weights / weights.sum())

    angle = optimize.brentq(lambda a: float(tilted(a) @ values) - mean, -500, 500)
    return tilted(angle)


def _most_powerful(cell: PowerCell, null: Floats, error: float, reps: int) -> float:
    """Return the power of Neyman and Pearson's test of `null`, by importance sampling."""
    present = cell.chances > 0
    ratio = np.zeros_like(cell.chances)
    ratio[present] = np.log(cell.chances[present] / null[:-1][present])
    counts = np.random.default_rng(2).multinomial(cell.n, cell.chances, reps)
    evidence = np.sort(counts @ ratio)[::-1]
    return float(np.searchsorted(np.exp(-evidence).cumsum() / reps, error) / reps)


def clusters_of_five(icc: float, discordance: float) -> tuple[Floats, Floats]:
    """Return the means of clusters whose cases share a change, or not, and their chances."""
    shared, half = math.sqrt(icc), discordance / 2
    chances = np.zeros(11)
    for value, chance in ((-1, half), (0, 1 - discordance), (1, half)):
        lose, win = ((1 - shared) * half + shared * (value == end) for end in (-1, 1))
        for wins in range(6):
            for losses in range(6 - wins):
                table = [wins, losses, 5 - wins - losses]
                chances[5 + wins - losses] += chance * stats.multinomial.pmf(
                    table, 5, [win, lose, 1 - win - lose]
                )
    return np.arange(-5, 6) / 5, chances


def cells() -> list[PowerCell]:
    """Return where power is measured: margins that the t test proves in .8 of runs, or given."""
    grid = np.arange(-25, 26) / 50
    normal = stats.norm.pdf(grid, 0, 0.1)
    steps = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9
    found = [
        PowerCell(f"{n} clusters of 5, 5 % discordant", n, -0.05, *clusters_of_five(0.3, 0.05))
        for n in (40, 60, 100)
    ]
    for name, n, values, chances in (
        *(("normal, deviation .1", n, grid, normal / normal.sum()) for n in (50, 100, 400)),
        *(("five-step scale", n, np.arange(-2, 3) / 4, steps) for n in (30, 100)),
    ):
        deviation = math.sqrt(float(chances @ values**2))
        found.append(
            PowerCell(f"{name}, {n}", n, -2.486 * deviation / math.sqrt(n), values, chances)
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharper_rules")
    parser.add_argument("--reps", type=int, default=2000, help="simulated samples a cell (2000)")
    reps = parser.parse_args(arguments).reps
    measured = cells()
    for number, cell in enumerate(measured, start=1):
        print(f"power {number}: {cell.name}, margin {cell.margin:.3f}")
    print("rule | error, n = 40 | n = 100 | " + " | ".join(map(str, range(1, len(measured) + 1))))
    for name, rule in RULES:
        errors = (f"{worst_error(rule, n):.3f}" for n in (40, 100))
        powers = (f"{cell.power(rule, reps):.2f}" for cell in measured)
        print(" | ".join([name, *errors, *powers]), flush=True)
    for error in (ALPHA, PROMISE):
        best = (f"{cell.most_power(error, 50 * reps):.2f}" for cell in measured)
        print(" | ".join([f"no rule that errs with {error:g}", "", "", *best]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
