"""Corpus values through whole runs: rare long failures, and classes that hardly occur.

Counts are those of bundled metrics, so that a run finds its function as a real one does: chrF of
answers of one order of characters, and macro-F1 of three classes. The true difference is that of
the expected counts, exactly at the gate's bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import rules, runs
from benchmarks.error_rates.runs import Gated, flips
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.contracts.metric_loading import corpus_function
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.records.manifest import Gate, MetricRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict

Floats = NDArray[np.float64]
Arms = tuple[Floats, Floats]
"""Counts of base's answers and of tuned's, a row a case."""
Draw = Callable[[np.random.Generator, int], Arms]

SIZES = (50, 100, 200, 400)
MANY = 4_000_000
"""Cases whose counts are taken for their expectation."""
CHARACTERS, LONGEST = 60, 6
"""Characters of an answer, and how many answers one that does not end is long."""
LABELS = ("refund", "delivery", "other")


@dataclass(frozen=True, slots=True)
class CorpusPopulation:
    """Counts of both arms, and the metric that makes a level of their sums."""

    name: str
    use: str
    draw: Draw

    @property
    def metric(self) -> MetricRecord:
        """The metric's record."""
        range_ = (0.0, 100.0) if self.use == "chrf" else (0.0, 1.0)
        record = rules.metric(range=range_, name=self.use)
        return record.model_copy(update={"corpus": {}})

    def difference(self, cases: int) -> float:
        """Return tuned's true level less base's, of the mean counts of very many cases."""
        level = corpus_function(self.use, {})
        base, tuned = self.draw(np.random.default_rng(1), cases)
        return level(tuned.sum(axis=0)) - level(base.sum(axis=0))


def long_failures(
    level: float, share: float, changed: float, rng: np.random.Generator, n: int
) -> Arms:
    """Return answers, a share of which fail altogether and run on to six times the length.

    Args:
        level: Share of base's characters that are right, on average.
        share: Share of tuned's answers that fail.
        changed: Share of the others that are drawn again.
        rng: Generator.
        n: Cases.
    """
    right, other = rng.binomial(CHARACTERS, rng.beta(4 * level, 4 * (1 - level), (2, n)))
    failed = rng.random(n) < share
    kept = np.where(rng.random(n) < changed, other, right)
    whole_ = np.full(n, float(CHARACTERS))
    lengths = np.where(failed, LONGEST * whole_, whole_)
    base = np.column_stack([whole_, whole_, right.astype(float)])
    return base, np.column_stack([lengths, whole_, np.where(failed, 0.0, kept)])


def rare_class(
    share: float, recall: float, flips_: float, rng: np.random.Generator, n: int
) -> Arms:
    """Return three classes; the last is rare, and tuned misses a part of it.

    Args:
        share: Share of the cases of the rare class.
        recall: Share of them that tuned still gets right; base gets .9 of all cases right.
        flips_: Share of the other cases that are drawn again.
        rng: Generator.
        n: Cases.
    """
    place = rng.random(n)
    truth = np.where(place < share, 2, (place * 1e6).astype(int) % 2)
    base = np.where(rng.random(n) < 0.9, truth, (truth + 1) % 3)
    again = np.where(rng.random(n) < 0.9, truth, (truth + 1) % 3)
    tuned = np.where(rng.random(n) < flips_, again, base)
    missed = (truth == 2) & (rng.random(n) > recall)
    return _hits(truth, base), _hits(truth, np.where(missed, 0, tuned))


def _hits(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> Floats:
    """Return hits, false alarms and misses of each class."""
    columns = []
    for label in range(len(LABELS)):
        is_, says = truth == label, predicted == label
        columns += [is_ & says, says & ~is_, is_ & ~says]
    return np.column_stack(columns).astype(float)


def _populations() -> list[CorpusPopulation]:
    populations = [
        CorpusPopulation(
            f"chrF {100 * level:g}, {share:.1%} total failures of 6 times the length, "
            f"{changed:.0%} of the others changed",
            "chrf",
            partial(long_failures, level, share, changed),
        )
        for level, share, changed in ((0.75, 0.01, 0.0), (0.75, 0.02, 0.3), (0.3, 0.01, 0.3))
    ]
    return populations + [
        CorpusPopulation(
            f"macro-F1, a class of {share:.0%} found in {recall:.0%}, "
            f"{changed:.0%} of the others changed",
            "classification",
            partial(rare_class, share, recall, changed),
        )
        for share, recall, changed in ((0.05, 0.5, 0.0), (0.02, 0.6, 0.1), (0.2, 0.8, 0.1))
    ]


def rows(settings: Settings) -> list[Row]:
    """Return false SHIPs at the bound, and false BLOCKs where nothing changed."""
    return _shipped(settings)


def _shipped(settings: Settings) -> list[Row]:
    table = []
    populations = _populations()
    for population in populations[::3] if settings.fast else populations:
        margin = -population.difference(MANY // (40 if settings.fast else 1))
        for n in SIZES[1:2] if settings.fast else SIZES:
            what = f"false SHIP, {population.name}: worse by the tolerance {margin:.3g}"
            gate = Gate(metric=population.use, kind="tolerance", margin=margin)
            table.append(_rate(settings, what, population, gate, n, Verdict.SHIP))
    return table


def _rate(
    settings: Settings,
    what: str,
    population: CorpusPopulation,
    gate: Gate,
    n: int,
    wrong: Verdict,
) -> Row:
    rng = settings.rng(f"corpora {what} {n}")
    reps = max(40, settings.reps // 20)
    hits = sum(_verdict(population, gate, rng, n) is wrong for _ in range(reps))
    return Row("corpora", what, str(n), *simulated(hits, reps))


def _verdict(population: CorpusPopulation, gate: Gate, rng: np.random.Generator, n: int) -> Verdict:
    """Return the verdict of a run; with a tolerance it has a goal that is far exceeded."""
    arms = population.draw(rng, n)
    part = Gated(population.metric, gate, (np.zeros(n), np.zeros(n)))
    counted = [
        ScoreRow(
            suite="s",
            metric=gate.metric,
            case=str(i),
            arm=arm,
            value=0.5,
            counts=tuple(counts),
        )
        for arm, rows_ in zip(runs.ARMS, arms, strict=True)
        for i, counts in enumerate(rows_.tolist())
    ]
    goal = runs.gated("goal", "gain", 0.0, flips(rng, n, 0.5, 0.05), rules.ZERO_ONE)
    goals = [goal] if gate.kind == "tolerance" else []
    suites = {"s": [*goals, part]}
    scored = runs.rows_of({"s": goals}) if goals else []
    manifest, cases = runs.manifest_of(suites), runs.cases_of(suites)
    return decide_run(manifest, cases, [*scored, *counted]).verdict
