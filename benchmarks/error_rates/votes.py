"""Votes: gates on what people prefer, with one vote a case and with several.

The expected advantage of tuned in the votes is exactly the gate's margin, and a pass is false.
Reviewers differ in taste, prefer a side, and tire; a coin decides which arm is on which side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import binary, rules
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.records.wording import count_noun

Floats = NDArray[np.float64]

CONFIDENCE = 0.90
SIZES = (20, 30, 50, 100)
MARGINS = {0.0: "gain 0", 0.1: "gain .1", -0.1: "tolerance .1"}
PREFERRED = rules.SCORE.model_copy(update={"votes": True})


@dataclass(frozen=True, slots=True)
class Reviewers:
    """How people vote on a case that tuned is better in, worse in, or neither."""

    count: int
    taste: float
    """Share of their honest votes that contradict what is true of the case."""
    left: float = 0.0
    """Share of votes for the answer on the left, unread."""
    tired: float = 0.0
    """Share of the last half of the votes that are ties, unread."""
    clear: float = 0.8
    """Share of cases in which one answer is better."""

    @property
    def attenuation(self) -> float:
        """How much of a true advantage their votes show."""
        return (1 - self.left) * (1 - self.tired / 2) * (1 - 2 * self.taste)

    def advantages(self, rng: np.random.Generator, n: int, expected: float) -> Floats:
        """Return the mean vote on each of n cases; `expected` is its expected mean."""
        truth = expected / self.attenuation
        better = (self.clear + truth) / 2
        draw = rng.random(n)
        true = np.where(draw < better, 1.0, np.where(draw < self.clear, -1.0, 0.0))
        shape = (n, self.count)
        contrary = rng.random(shape) < self.taste
        honest = np.where(contrary, -true[:, None], true[:, None])
        late = np.arange(n)[:, None] >= n / 2
        tired = late & (rng.random(shape) < self.tired)
        votes = np.where(tired, 0.0, honest)
        of_left = rng.choice([-1.0, 1.0], n)[:, None]
        cast = np.where(rng.random(shape) < self.left, of_left, votes)
        return np.asarray(cast.mean(axis=1))

    def __str__(self) -> str:
        """Return it in words."""
        faults = {"contrary": self.taste, "left": self.left, "tired": self.tired}
        named = ", ".join(f"{100 * share:.0f} % {name}" for name, share in faults.items() if share)
        return f"{count_noun(self.count, 'reviewer')}, {named or 'of one mind'}"


POPULATIONS = (
    Reviewers(1, taste=0.1, left=0.3, tired=0.5),
    Reviewers(2, taste=0.0),
    Reviewers(2, taste=0.1),
    Reviewers(3, taste=0.3),
    Reviewers(3, taste=0.1, left=0.3),
    Reviewers(3, taste=0.2, left=0.1, tired=0.8),
    Reviewers(2, taste=0.0, clear=0.2),
)


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of gates on votes."""
    return [*one_vote(settings), *several(settings)]


def one_vote(settings: Settings) -> list[Row]:
    """Return the exact size with one vote a case, the worst over the share of ties."""
    found = []
    for margin, name in MARGINS.items():
        for n in SIZES[:2] if settings.fast else SIZES:
            rate, share = binary.size(binary.monotone_table(n, _proves(n, margin)), margin)
            note = f"worst with {100 * (1 - share):.3g} % ties"
            found.append(Row("votes", f"one vote, {name}", str(n), rate, note=note))
    return found


def _proves(n: int, margin: float) -> Callable[[int], Callable[[int], bool]]:
    return lambda losses: lambda wins: rules.gate(counted(wins, losses, n), margin, CONFIDENCE)


def several(settings: Settings) -> list[Row]:
    """Return how often reviewers with known faults prove what is not so."""
    found = []
    for reviewers in POPULATIONS[::3] if settings.fast else POPULATIONS:
        for margin, name in MARGINS.items():
            for n in SIZES[1::2]:
                rng = settings.rng(f"votes {reviewers} {reviewers.clear} {margin} {n}")
                reps = max(100, settings.reps // 5)
                passed = covered = 0
                for _ in range(reps):
                    pairs = voted(reviewers.advantages(rng, n, margin))
                    passed += rules.gate(pairs, margin, CONFIDENCE)
                    interval = pairs.interval(CONFIDENCE)
                    covered += interval.low <= margin <= interval.high
                rate, error = simulated(passed, reps)
                note = f"the 90 % interval holds the truth in {covered / reps:.3f}"
                what = f"{reviewers}, {100 * reviewers.clear:.0f} % clear, {name}"
                found.append(Row("votes", what, str(n), rate, error, note=note))
    return found


def counted(wins: int, losses: int, n: int) -> Pairs:
    """Return pairs with one vote each, the rest ties."""
    return voted(np.repeat([1.0, -1.0, 0.0], [wins, losses, n - wins - losses]))


def voted(advantages: Floats) -> Pairs:
    """Return the pairs of these mean votes."""
    return rules.pairs_of(
        ((1 - advantages) / 2).tolist(), ((1 + advantages) / 2).tolist(), PREFERRED
    )
