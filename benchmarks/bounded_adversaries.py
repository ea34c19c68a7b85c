"""How often the rule for bounded means errs at worst, against an adversary who optimises.

    python -m benchmarks.bounded_adversaries            # about 10 minutes
    python -m benchmarks.bounded_adversaries --units 47

A population has three values, the lowest of them the end of the range, and its mean is the margin.
Differential evolution (Storn and Price 1997) moves values and chances so that the gate, at 5 %,
proves a mean above the margin as often as can be. The probability is exact: a sum over all samples.

Samples are judged by a second implementation of the rule, which takes all of them at once; it is
compared with the gate's own on random samples first.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special  # type: ignore[import-untyped]  # scipy ships no types

from benchmarks.error_rates.table import ALPHA, PROMISE
from tunegate.harness.stats.paired_mean import mean_test

Floats = NDArray[np.float64]

UNITS = (16, 24, 36, 47, 70, 100, 150)
MOST_LOSSES = 60
"""Units of the lowest value beyond which no sample proves anything."""
SEEDS = (0, 1)
_SHARES = np.concatenate([[0.0], np.geomspace(1e-6, 8, 4000)])
"""Noise at which the worst share of unseen losses is tabulated."""


def _worst_shares() -> tuple[Floats, Floats]:
    """Return u with phi(u) = s Phi(u) for each noise s, and log Phi(u) - s u, by bisection."""
    low = np.full_like(_SHARES, -9.0)
    high = 2 + np.sqrt(2 * np.maximum(0, -np.log(np.maximum(_SHARES, 1e-12))))
    for _ in range(60):
        u = (low + high) / 2
        rising = np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi) > _SHARES * special.ndtr(u)
        low, high = np.where(rising, u, low), np.where(rising, high, u)
    credit = np.log(special.ndtr(low)) - _SHARES * low
    credit[0] = 0
    return low, credit


_WORST, _CREDIT = _worst_shares()


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """Samples of one size, as counts of each value, and what is computed from them once."""

    counts: Floats
    """(samples, values)."""
    values: Floats
    """Ascending."""

    @property
    def n(self) -> float:
        """Units of each sample."""
        return float(self.counts[0].sum())

    def moment(self, power: int) -> Floats:
        """Return central moments."""
        apart = self.values - (self.counts @ self.values / self.n)[:, np.newaxis]
        return np.asarray((self.counts * apart**power).sum(axis=1) / self.n)

    def lattice_steps(self) -> Floats:
        """Return the steps of means whose units are of two kinds."""
        below, sums = self.counts.cumsum(axis=1), (self.counts * self.values).cumsum(axis=1)
        best, step = np.zeros(len(self.counts)), np.zeros(len(self.counts))
        total = np.maximum(self.moment(2), 1e-30)
        for j in range(len(self.values) - 1):
            first, rest = below[:, j], self.n - below[:, j]
            both = (first > 0) & (rest > 0)
            gap = (sums[:, -1] - sums[:, j]) / np.maximum(rest, 1) - sums[:, j] / np.maximum(
                first, 1
            )
            share = np.where(both, first * rest / self.n**2 * gap**2 / total, 0)
            step = np.where(share > best, gap, step)
            best = np.maximum(best, share)
        return np.asarray(np.clip((best - 0.9) / 0.1, 0, 1) * step / self.n)

    def likelihood_p(self, margin: float) -> Floats:
        """Return p-values of the signed root of the empirical likelihood."""
        present, apart = self.counts > 0, self.values - margin
        lowest = np.where(present, apart, np.inf).min(axis=1)
        scaled = apart / np.where(lowest < 0, -lowest, 1)[:, np.newaxis]
        above = (self.counts * scaled).sum(axis=1) > 0
        low, high = np.zeros(len(self.counts)), np.full(len(self.counts), 1 - 1e-12)
        with np.errstate(divide="ignore", invalid="ignore"):
            for _ in range(45):
                middle = (low + high) / 2
                terms = self.counts * scaled / (1 + middle[:, np.newaxis] * scaled)
                rising = np.where(present, terms, 0).sum(axis=1) > 0
                low, high = np.where(rising, middle, low), np.where(rising, high, middle)
            terms = self.counts * np.log1p(low[:, np.newaxis] * scaled)
            root = np.sqrt(2 * np.maximum(0, np.where(present, terms, 0).sum(axis=1)))
        root = np.where(lowest < 0, np.where(above, root, 0), np.inf)
        second = self.moment(2)
        excess = self.moment(4) / np.where(second > 1e-14, second, 1) ** 2 - 1
        degrees = np.maximum(1, 1 / (1 / (self.n - 1) + excess / (3 * self.n)))
        return np.where(second > 1e-14, special.stdtr(degrees, -root), 0)

    def p_values(self, margin: float) -> Floats:
        """Return the p-values of "the mean is above `margin`", of scores from -1 to 1."""
        mean, second = self.counts @ self.values / self.n, self.moment(2)
        varies = second > 1e-14
        error = np.sqrt(np.where(varies, second, 0) / (self.n - 1))
        skew = np.where(varies, self.moment(3), 0) / np.where(varies, second, 1) ** 1.5
        skew /= math.sqrt(self.n)
        x = np.clip((mean - margin) / np.maximum(error, 1e-9), -1e9, 1e9)
        x = np.minimum(x, x + skew * x**2 / 3 + skew**2 * x**3 / 27 + skew / 6)
        plain = np.maximum(special.stdtr(self.n - 1, -x), self.likelihood_p(margin))
        lowered = np.maximum(mean - self.lattice_steps(), -1 + 1e-9)
        found = np.maximum(plain, _unseen_p(self.n, lowered, error, skew, margin))
        return np.where(mean > margin, found, 1.0)


def _unseen_p(n: float, mean: Floats, error: Floats, skew: Floats, margin: float) -> Floats:
    """Return the p-values against losses of the whole range of which a sample holds none."""
    noise = n * error / (1 + mean)
    credit = np.where(noise > 8, 0, np.interp(noise, _SHARES, _CREDIT))
    worst = np.where(noise > 8, -8.0, np.interp(noise, _SHARES, _WORST))
    gain = np.maximum(0, skew * noise)
    distance = n * np.log((1 + mean) / (1 + margin))
    distance -= np.maximum(0, -credit) * np.minimum(1, gain**2 + (8 / n) ** 2)
    normal = special.ndtr(-distance / np.maximum(noise, 1e-9))
    rare = np.exp(np.minimum(0, credit - distance))
    return np.where((noise > 0) & (distance < -noise * worst), normal, rare)


@dataclass(frozen=True, slots=True)
class AdversaryGame:
    """All samples of `n` units, and how often the rule proves too much in a population."""

    n: int

    def counts(self) -> Floats:
        """Return the counts (lowest, middle, highest) of every sample."""
        pairs = [(i, j) for i in range(min(self.n, MOST_LOSSES) + 1) for j in range(self.n + 1 - i)]
        return np.array([(i, self.n - i - j, j) for i, j in pairs], dtype=np.float64)

    def error(self, counts: Floats, values: Floats, chances: Floats) -> float:
        """Return the exact probability of a proof in the population, at its own mean."""
        margin = float(values @ chances)
        if not -0.999 < margin < 0.999:
            return 0.0
        proven = counts[SampleCounts(counts, values).p_values(margin) <= ALPHA]
        ways = special.gammaln(self.n + 1) - special.gammaln(proven + 1).sum(axis=1)
        return float(np.exp(ways + special.xlogy(proven, chances).sum(axis=1)).sum())

    def worst(self, seed: int, generations: int) -> tuple[float, Floats, Floats]:
        """Return the highest error that is found, with the values and their chances."""
        counts = self.counts()

        def loss(point: Floats) -> float:
            values, chances = _population(point)
            return -self.error(counts, values, chances) if chances.min() >= 0 else 0.0

        found = optimize.differential_evolution(
            loss, [(0, 1)] * 4, seed=seed, maxiter=generations, popsize=14, tol=1e-5, polish=False
        )
        return -float(found.fun), *_population(found.x)


def _population(point: Floats) -> tuple[Floats, Floats]:
    """Return values and chances: the highest, the middle, the share of losses, that of gains."""
    highest = -1 + 2 * point[0]
    losses, gains = 10 ** (-3 + 2.7 * point[2]), 10 ** (-3 + 3 * point[3])
    values = np.array([-1.0, -1 + (highest + 1) * point[1], highest])
    return values, np.array([losses, 1 - losses - gains, gains])


def disagreements(samples: int = 300) -> int:
    """Return for how many random samples the gate's p-value below one half is another one."""
    rng, differing = np.random.default_rng(0), 0
    for _ in range(samples):
        values, n = np.sort(rng.uniform(-1, 1, 3)), int(rng.integers(5, 80))
        counts = rng.multinomial(n, rng.dirichlet([0.5] * 3), 1).astype(np.float64)
        mean = float(counts[0] @ values / n)
        margin = float(rng.uniform(max(-0.98, mean - 0.5), max(-0.97, mean)))
        ours = float(SampleCounts(counts, values).p_values(margin)[0])
        sample = np.repeat(values, counts[0].astype(int))
        gate = mean_test(sample, margin=margin, bound=1.0).p_value
        differing += min(ours, gate) < 0.5 and not math.isclose(ours, gate, rel_tol=1e-3)
    return differing


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the worst population for each number of units; 1 if an error is above the promise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bounded_adversaries")
    parser.add_argument("--units", type=int, nargs="*", default=list(UNITS))
    parser.add_argument("--generations", type=int, default=70, help="of the search (70)")
    chosen = parser.parse_args(arguments)
    differing = disagreements()
    print(f"{differing} of 300 samples judged otherwise than by the gate")
    highest = 0.0
    for n in chosen.units:
        game = AdversaryGame(n)
        runs = (game.worst(seed, chosen.generations) for seed in SEEDS)
        error, values, chances = max(runs, key=lambda run: run[0])
        print(f"{n} units: {error:.4f} for {values.round(3)} with {chances.round(3)}", flush=True)
        highest = max(highest, error)
    return int(differing > 0 or highest > PROMISE)


if __name__ == "__main__":
    sys.exit(main())
