"""The gates in the wild: their errors on recorded scores of real models.

    python -m benchmarks.wild FOLDER

FOLDER holds one JSON file per set of items with the scores of many models, as
`benchmarks.wild_sources` writes it; that module names the public repositories that they come from
and converts them. None of it belongs into this repository.

Of each set pairs of models are taken whose levels differ by at most 15 % of the range: half of them
those that agree on most items, as a fine-tune does with its base, the others at random. The whole
set is the truth. Samples of 100, 200, 500 and half of its items are judged by the gates that a
suite would have, with interim looks and without, by the functions that decide a run. Where items
belong to documents, whole documents are drawn. There are two kinds of samples:

- *without replacement*, as someone takes who picks cases out of a pool. A sample of half of a pool
  misses the pool's mean by less than one of an endless population does, so its errors are fewer
  than promised for that reason alone.
- *with replacement*, which makes the set a population that never ends: errors are those of theory.

Few pairs differ by exactly a usual margin. So each pair is also judged *at the margin*: the margin
is its own true difference, the worst case of every gate. `gain 0` gets a population without any
difference: each item is in it twice, once with the arms exchanged.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.error_rates import rules, whole
from benchmarks.error_rates.runs import Gated
from benchmarks.error_rates.table import simulated
from benchmarks.wild_populations import METRIC, ModelPair, Sample, ScoreSet
from tunegate.harness.comparison.delta import one_sided
from tunegate.harness.comparison.estimator import Estimator
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.gating.decide_all import decide_gate
from tunegate.harness.gating.error_control import ProvenRegressions
from tunegate.harness.records.manifest import Gate, LookSchedule, MetricRecord
from tunegate.harness.records.verdict import GateStatus, Verdict
from tunegate.harness.stats.group_sequential import look_sizes

SIZES = (100, 200, 500)
AT_MARGIN = (100, 200)
"""Sizes at the margin, besides half of the items."""
HALF = 0
"""Stands for half of the items."""
WORST = 150
"""New samples of a pair that passed most often; with looks half as many."""
USUAL: tuple[tuple[str, float | str], ...] = (
    ("gain", 0.0),
    ("gain", 0.02),
    ("tolerance", 0.02),
    ("tolerance", 0.05),
    ("tolerance", "2%"),
    ("tolerance", "5%"),
)
"""Gates of which the numbers are shares of the metric's range."""
DISCORDANCES = (0.05, 0.1, 0.2, 0.4)
"""Where the share of items with different scores is cut into classes."""
SUITE = "s"


@dataclass(slots=True)
class SampleJudge:
    """What decides samples of one metric, as `decide` does for a suite of one gate.

    Outcomes of 0/1 scores depend on four counts only, so each is decided once.
    """

    metric: MetricRecord
    known: dict[tuple[object, ...], GateStatus] = field(default_factory=dict)

    def outcome(self, gate: Gate, sample: Sample, look: InterimLook | None = None) -> GateStatus:
        """Decide one sample, at a look or of the whole."""
        if not self.metric.binary or sample.units is not None:
            return self._decide(gate, sample, look)
        base, tuned = sample.base, sample.tuned
        counts = int(base @ tuned), int((1 - base) @ tuned), int(base @ (1 - tuned)), sample.n
        plan = None if look is None else (look.looks.sizes, look.index)
        key = (gate.kind, gate.margin, counts, plan)
        if key not in self.known:
            self.known[key] = self._decide(gate, sample, look)
        return self.known[key]

    def run(self, gate: Gate, sample: Sample) -> tuple[GateStatus, float]:
        """Decide a growing sample at its looks; return how it ended, and its share of cases."""
        looks = schedule(sample.units or (1,) * sample.n, binary=self.metric.binary)
        status = GateStatus.UNDECIDED
        for index, size in enumerate(looks.sizes):
            status = self.outcome(gate, sample.first(size), InterimLook(looks, index))
            if status is not GateStatus.UNDECIDED:
                return status, size / sample.n
        return status, 1.0

    def _decide(self, gate: Gate, sample: Sample, look: InterimLook | None) -> GateStatus:
        base, tuned = sample.base.tolist(), sample.tuned.tolist()
        pairs = rules.pairs_of(base, tuned, self.metric, sample.labels)
        looks = {} if look is None else {SUITE: look}
        losses = ProvenRegressions({(SUITE, METRIC): pairs}, looks=looks)
        regressed = losses.proven(SUITE, METRIC, one_sided(gate.confidence))
        judged = gate if look is None else look.judged(gate)
        remaining = 0 if look is None else look.remaining
        found = decide_gate(judged, pairs, regressed=regressed, remaining=remaining)
        return GateStatus.UNDECIDED if found.advisory else found.status


@cache
def schedule(units: tuple[int, ...], *, binary: bool) -> LookSchedule:
    """Return the looks of a suite, of which each sees whole documents only."""
    wanted = look_sizes(sum(units), first=20 if binary else 50)
    sizes: list[int] = []
    shares: list[float] = []
    count = 0
    for number, size in enumerate(units, start=1):
        count += size
        if count >= wanted[0]:
            sizes.append(count)
            shares.append(number / len(units))
            wanted = [later for later in wanted if later > count]
    order = tuple(map(str, range(count)))
    return LookSchedule(order=order, sizes=tuple(sizes), shares=tuple(shares))


def gate_of(kind: str, margin: float | str, width: float = 1.0) -> Gate:
    """Return a gate whose margin is a share of the range, or of base."""
    value = margin if isinstance(margin, str) else margin * width
    return Gate(metric=METRIC, kind=kind, margin=value)


@dataclass(slots=True)
class OutcomeCounts:
    """How the samples of one cell ended."""

    runs: int = 0
    false_ships: int = 0
    undeserved: int = 0
    """Samples of pairs that do not deserve to pass."""
    false_blocks: int = 0
    not_worse: int = 0
    """Samples of pairs in which tuned is not worse."""
    undecided: int = 0
    used: float = 0.0
    """Sum of the shares of the cases that were used."""

    def add(self, pair: ModelPair, gate: Gate, status: GateStatus, used: float) -> None:
        """Count one sample."""
        deserved = pair.is_true(gate)
        self.runs += 1
        self.false_ships += status is GateStatus.PASS and not deserved
        self.undeserved += not deserved
        self.false_blocks += status is GateStatus.FAIL and pair.difference >= 0
        self.not_worse += pair.difference >= 0
        self.undecided += status is GateStatus.UNDECIDED
        self.used += used

    def words(self) -> str:
        """Return the cells of a line."""
        ships = written(self.false_ships, self.undeserved)
        blocks = written(self.false_blocks, self.not_worse)
        n = max(1, self.runs)
        return f"{ships} {blocks} {self.undecided / n:9.3f} {self.used / n:5.2f}"


def written(hits: int, runs: int) -> str:
    """Return a rate with its standard error."""
    if not runs:
        return f"{'-':>12}"
    rate, error = simulated(hits, runs)
    return f"{rate:6.4f} {error:.3f}"


def usual(pairs: Sequence[ModelPair], seed: int) -> Iterator[str]:
    """Yield the table of the usual gates: every pair once a cell, its arms in random order."""
    half = f"{'false SHIP':>12} {'false BLOCK':>12} {'undecided':>9} {'cases':>5}"
    yield f"{'':<31} | {'all cases at once':<42} | with looks"
    yield f"{'usual gates':<14} {'n':>4} {'sample':<11} | {half} | {half}"
    judges: dict[str, SampleJudge] = {}
    samples = (*((size, False) for size in SIZES), (HALF, False), (HALF, True))
    for (kind, margin), (wanted, replaced) in product(USUAL, samples):
        rng = np.random.default_rng([seed, USUAL.index((kind, margin)), wanted, replaced])
        plain, looked = OutcomeCounts(), OutcomeCounts()
        for pair in pairs:
            way = pair if rng.random() < 0.5 else pair.exchanged
            gate = gate_of(kind, margin, way.set.width)
            judge = judges.setdefault(way.set.name, SampleJudge(way.set.metric))
            sample = way.sample(wanted or way.n // 2, rng, replaced=replaced)
            plain.add(way, gate, judge.outcome(gate, sample), 1.0)
            looked.add(way, gate, *judge.run(gate, sample))
        where = f"{wanted or 'half':>4} {'with' if replaced else 'without':<11}"
        yield f"{kind} {margin!s:<{13 - len(kind)}} {where} | {plain.words()} | {looked.words()}"


def disagreements(pairs: Sequence[ModelPair], seed: int) -> tuple[int, int]:
    """Return how often a whole run ends otherwise than its one gate, and of how many runs."""
    wrong = count = 0
    ends = {GateStatus.PASS: Verdict.SHIP, GateStatus.FAIL: Verdict.BLOCK}
    for number, pair in enumerate(pairs):
        if pair.documents is not None:
            continue
        rng = np.random.default_rng([seed, 6, number])
        kind, margin = USUAL[number % len(USUAL)]
        way = pair if rng.random() < 0.5 else pair.exchanged
        gate, metric = gate_of(kind, margin, pair.set.width), pair.set.metric
        sample = way.sample(SIZES[0], rng, replaced=True)
        status = SampleJudge(metric).outcome(gate, sample)
        found = whole.verdict({SUITE: [Gated(metric, gate, (sample.base, sample.tuned))]})
        wrong += found is not ends.get(status, Verdict.UNDECIDED)
        count += 1
    return wrong, count


@dataclass(frozen=True, eq=False)
class MarginCase:
    """A pair and the gate whose margin is its true difference."""

    label: str
    pair: ModelPair
    gate: Gate

    @cached_property
    def judge(self) -> SampleJudge:
        """Return what decides its samples."""
        return SampleJudge(self.pair.set.metric)

    def status(
        self, n: int, rng: np.random.Generator, *, looks: bool, replaced: bool
    ) -> GateStatus:
        """Return how a sample of it ends; it should not pass."""
        sample = self.pair.sample(n, rng, replaced=replaced)
        if looks:
            return self.judge.run(self.gate, sample)[0]
        return self.judge.outcome(self.gate, sample)

    def is_provable(self, n: int) -> bool:
        """Return whether so many cases without any change would pass: else suites are refused."""
        if self.gate.kind == "gain" or self.pair.documents is not None:
            return True
        base = np.resize(np.sort(self.pair.base)[::-1], n)
        return self.judge.outcome(self.gate, Sample(base, base)) is GateStatus.PASS


def margin_cases(pairs: Iterable[ModelPair]) -> list[MarginCase]:
    """Return every pair with the gates that it is exactly at."""
    found = []
    for pair in pairs:
        loss, level = -pair.difference, abs(float(pair.base.mean()))
        found += [
            MarginCase("gain 0", pair.balanced, gate_of("gain", 0.0)),
            MarginCase("gain", pair.exchanged, gate_of("gain", loss)),
            MarginCase("tolerance", pair, gate_of("tolerance", loss)),
        ]
        if 0 < loss < level:
            share = gate_of("tolerance", f"{100 * loss / level:.9f}%")
            found.append(MarginCase("tolerance, %", pair, share))
    return found


@dataclass(slots=True)
class MarginTally:
    """False passes of one cell at the margin, with looks or without."""

    passes: Counter[bool] = field(default_factory=Counter)
    """Looks → samples that passed."""
    failures: Counter[bool] = field(default_factory=Counter)
    """Looks → samples that failed."""
    runs: Counter[bool] = field(default_factory=Counter)

    def add(self, looks: bool, statuses: Counter[GateStatus]) -> None:
        """Count samples."""
        self.passes[looks] += statuses[GateStatus.PASS]
        self.failures[looks] += statuses[GateStatus.FAIL]
        self.runs[looks] += statuses.total()

    def words(self, *, blocks: bool) -> str:
        """Return the cells of a line; failures only where they are false."""
        columns = []
        for looks in (False, True):
            columns.append(written(self.passes[looks], self.runs[looks]))
            runs = self.runs[looks] if blocks else 0
            columns.append(written(self.failures[looks], runs))
        return f"{columns[0]} {columns[1]} | {columns[2]} {columns[3]} | {self.runs[False]:6d}"


def at_margin(cases: Sequence[MarginCase], reps: int, seed: int) -> Iterator[str]:
    """Yield the tables of pairs at the margin, and the worst of them judged anew."""
    found: dict[tuple[str, str], MarginTally] = defaultdict(MarginTally)
    single: Counter[tuple[int, int, bool]] = Counter()
    for number, case in enumerate(cases):
        rng = np.random.default_rng([seed, 7, number])
        for wanted in (*AT_MARGIN, HALF):
            n = wanted or case.pair.n // 2
            if not case.is_provable(n):
                continue
            size = f"n = {wanted or 'half of the items'}"
            of = f"{case.pair.set.kind}: {case.pair.set.name}"
            for looks in (False, True):
                runs = max(1, reps // 4) if looks else reps
                statuses = _statuses(case, n, runs, rng, looks=looks, replaced=True)
                single[number, wanted, looks] = statuses[GateStatus.PASS]
                for where in (size, of, _class(case.pair), "all"):
                    found[case.label, where].add(looks, statuses)
                if wanted == HALF:
                    statuses = _statuses(case, n, runs, rng, looks=looks, replaced=False)
                    found[case.label, f"{size}, without replacement"].add(looks, statuses)
    head = f"{'false SHIP':>12} {'false BLOCK':>12}"
    yield f"{'at the margin':<14} {'':<40} | {head} | {head} | samples"
    for (label, where), tally in sorted(found.items(), key=_order):
        yield f"{label:<14} {where:<40} | {tally.words(blocks=label.startswith('gain'))}"
    yield ""
    yield from _worst(cases, single, seed)


def _order(item: tuple[tuple[str, str], MarginTally]) -> tuple[str, list[int | str]]:
    """Return the place of a line: numbers of cases in their order."""
    label, where = item[0]
    return label, [f"{int(part):6d}" if part.isdigit() else part for part in where.split()]


def _statuses(
    case: MarginCase, n: int, runs: int, rng: np.random.Generator, *, looks: bool, replaced: bool
) -> Counter[GateStatus]:
    return Counter(case.status(n, rng, looks=looks, replaced=replaced) for _ in range(runs))


def _worst(
    cases: Sequence[MarginCase], single: Counter[tuple[int, int, bool]], seed: int
) -> Iterator[str]:
    """Yield the pairs with most false passes, judged on new samples: being chosen is no proof."""
    yield "pairs that passed most often, on new samples"
    for looks in (False, True):
        chosen = [key for key, _ in single.most_common() if key[2] is looks][:8]
        for number, wanted, _ in chosen:
            case, rng = cases[number], np.random.default_rng([seed, 8, number, wanted, looks])
            n = wanted or case.pair.n // 2
            runs = WORST // 2 if looks else WORST
            hits = _statuses(case, n, runs, rng, looks=looks, replaced=True)[GateStatus.PASS]
            text = f"{case.label:<12} n {n:<5} {'looks' if looks else '':<5} {written(hits, runs)}"
            about = f"{case.pair.set.name}: {case.pair.name}, discordance "
            yield f"{text}  {about}{case.pair.discordance:.3f}, margin {case.gate.margin}"


def _class(pair: ModelPair) -> str:
    """Return the class of a pair's discordance."""
    edges = (0.0, *DISCORDANCES, 1.0)
    index = int(np.searchsorted(DISCORDANCES, pair.discordance, side="right"))
    return f"discordance {edges[index]:.2f} to {edges[index + 1]:.2f}"


@contextmanager
def _no_plans() -> Iterator[None]:
    """Leave out how many cases would decide a gate: most of its time, no part of its outcome."""
    with mock.patch.object(Estimator, "plan", return_value=None):
        yield


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wild",
        description="Measure the gates' errors on recorded scores of real models.",
    )
    parser.add_argument("folder", type=Path, help="what benchmarks.wild_sources wrote")
    parser.add_argument("--pairs", type=int, default=36, help="pairs of models a set (36)")
    parser.add_argument("--reps", type=int, default=4, help="samples a pair at its margin (4)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all choices (1)")
    parser.add_argument("--only", choices=("usual", "margin"), help="one of the two tables")
    parser.add_argument("--sets", nargs="*", help="names of some sets")
    parsed = parser.parse_args(arguments)
    started = time.perf_counter()
    rng = np.random.default_rng(parsed.seed)
    pairs: list[ModelPair] = []
    again: list[ModelPair] = []
    for path in sorted(parsed.folder.glob("*.json")):
        of = ScoreSet.read(path)
        chosen = of.populations(parsed.pairs, rng)
        if parsed.sets and of.name not in parsed.sets:
            continue
        items = max((pair.n for pair in chosen), default=0)
        about = f"{len(of.models)} models, {items} items, {len(chosen)} pairs"
        documents = "" if of.documents is None else f", {of.documents.max() + 1} documents"
        print(f"{of.name}: {of.kind}, {about}{documents}")
        pairs += chosen
        if of.metric.range is not None and of.metric.range[1] == 0:
            again += [replace(pair, set=of.unbounded) for pair in chosen]
    print(f"{len(pairs)} pairs, {len(again)} of them also without a range\n", flush=True)
    with _no_plans():
        if parsed.only != "margin":
            _show(usual(pairs, parsed.seed))
            wrong, count = disagreements(pairs, parsed.seed)
            print(f"\na whole run ends otherwise than its gate in {wrong} of {count} runs\n")
        if parsed.only != "usual":
            _show(at_margin(margin_cases([*pairs, *again]), parsed.reps, parsed.seed))
    print(f"\n{time.perf_counter() - started:.0f} s, seed {parsed.seed}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
