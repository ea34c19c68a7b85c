"""Gates on tags, and slices that lost: errors of whole runs whose cases come in slices.

A slice's gate is broken by exactly its margin while everything else gains, so that the mean hides
it. Where nothing changed, the share of runs that name a slice is printed: of k slices of 0/1 scores
each interval alone is below zero by chance in up to 5 %.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from unittest import mock

import numpy as np

from benchmarks.error_rates import binary, rules
from benchmarks.error_rates.runs import SUITE, Column, Gated, flips
from benchmarks.error_rates.table import PROMISE, Row, Settings, simulated
from benchmarks.error_rates.whole import manifest_of, rows_of
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.records.cases import Case
from tunegate.harness.records.manifest import Gate, LookSchedule, MetricRecord
from tunegate.harness.records.verdict import GateReason, Verdict, VerdictRecord
from tunegate.harness.stats.distributions import normal_tail, normal_upper
from tunegate.harness.stats.group_sequential import look_sizes
from tunegate.harness.verdict.decide import decide_run

MARGIN = 0.1
SLICES = (60, 100, 200)
"""Cases of a slice whose gate is broken by exactly its margin."""
LOOKED = 100
"""Cases of the one that is looked at while the run goes."""
REST = 200
"""Cases outside of it, which gain."""
FAMILIES = (5, 10)
UNCHANGED = (5, 20)
PART = 40
"""Cases of each of several slices."""
REAL = (48, 0.725, 0.354)
"""Cases of a slice of function calls, and how often base and tuned rightly called nothing."""

Draw = Callable[[np.random.Generator], tuple[Column, list[str]]]
"""Draws base's and tuned's scores, with the tag of each case."""
Gates = tuple[Gate, ...]


@dataclass(frozen=True, slots=True)
class SliceCell:
    """One kind of error of a run with slices."""

    what: str
    gates: Gates
    draw: Draw
    errs: Callable[[VerdictRecord], bool]
    n: str
    metric: MetricRecord = rules.ZERO_ONE
    goal_rule: str = "primary"
    looks: bool = False
    """Whether the run is looked at while it goes, its cases in a drawn order."""
    limit: float = PROMISE
    note: str = ""

    def row(self, settings: Settings) -> Row:
        """Simulate it in a small part of the settings' number: a run is many tests."""
        rng = settings.rng(f"slices {self.what} {self.n}")
        reps = max(30, settings.reps // (25 if self.looks else 20))
        rate, error = simulated(sum(self.errs(self.run(rng)) for _ in range(reps)), reps)
        return Row("slices", self.what, self.n, rate, error, limit=self.limit, note=self.note)

    def run(self, rng: np.random.Generator) -> VerdictRecord:
        """Draw and decide one run."""
        (base, tuned), tags = self.draw(rng)
        order = rng.permutation(len(tags))
        return decide(
            self.gates,
            self.metric,
            (base[order], tuned[order]),
            [tags[i] for i in order],
            goal_rule=self.goal_rule,
            looks=self.looks,
        )


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of gates on tags and of the slices that lost."""
    cells = [*_broken(settings.fast), *_goals(), *_families(settings.fast), *_losses(settings.fast)]
    # statsmodels collects garbage in each Holm adjustment: nine tenths of the time.
    with mock.patch.object(gc, "collect", return_value=0):
        return [cell.row(settings) for cell in cells]


def decide(
    gates: Gates,
    metric: MetricRecord,
    scores: Column,
    tags: Sequence[str],
    *,
    goal_rule: str = "primary",
    looks: bool = False,
) -> VerdictRecord:
    """Return the verdict on one metric; with looks, that of the first look that decides.

    Args:
        gates: Its gates.
        metric: The metric that they name.
        scores: Base's and tuned's, in the order in which the cases are asked.
        tags: Tag of each case.
        goal_rule: The suite's rule.
        looks: Whether the suite is looked at while it runs.
    """
    parts = [Gated(metric, gate, scores) for gate in gates]
    n = len(tags)
    sizes = tuple(look_sizes(n, first=20 if metric.binary else 50)) if looks else (n,)
    order = tuple(map(str, range(n)))
    plan = LookSchedule(order=order, sizes=sizes, shares=tuple(size / n for size in sizes))
    manifest = manifest_of(
        {SUITE: parts}, goal_rule=goal_rule, looks={SUITE: plan} if looks else {}
    )
    (suite,) = manifest.suites
    suite = suite.model_copy(update={"metrics": (metric,)})
    manifest = manifest.model_copy(update={"suites": (suite,)})
    cases = {SUITE: [Case(id=str(i), prompt=f"p{i}", tags=(tag,)) for i, tag in enumerate(tags)]}
    for index, size in enumerate(sizes):
        at = {SUITE: InterimLook(plan, index)} if looks else {}
        found = decide_run(manifest, cases, rows_of({SUITE: parts[:1]}, first=size), looks=at)
        if found.verdict in (Verdict.SHIP, Verdict.BLOCK, Verdict.HOLD):
            break
    return found


def _ships(verdict: VerdictRecord) -> bool:
    return verdict.verdict is Verdict.SHIP


def _regresses(verdict: VerdictRecord) -> bool:
    return any(gate.reason is GateReason.REGRESSED for gate in verdict.suites[0].gates)


def _names_one(verdict: VerdictRecord) -> bool:
    return verdict.slices is not None


def _discovers_one(verdict: VerdictRecord) -> bool:
    return verdict.slices is not None and any(lost.stands_out for lost in verdict.slices.lost)


def _of_parts(parts: Mapping[str, Callable[[np.random.Generator], Column]]) -> Draw:
    """Return the draw of a suite whose slices have populations of their own."""

    def draw(rng: np.random.Generator) -> tuple[Column, list[str]]:
        drawn = {tag: part(rng) for tag, part in parts.items()}
        base, tuned = (np.concatenate([d[i] for d in drawn.values()]) for i in (0, 1))
        return (base, tuned), [tag for tag, (b, _) in drawn.items() for _ in b]

    return draw


def _bits(n: int, win: float, lose: float) -> Callable[[np.random.Generator], Column]:
    return lambda rng: flips(rng, n, win, lose)


def _failures(n: int, loss: float) -> Callable[[np.random.Generator], Column]:
    """Return bounded scores with little noise, of which a share of `loss` / .8 fails wholly."""

    def draw(rng: np.random.Generator) -> Column:
        base = np.full(n, 0.8)
        tuned = base + rng.uniform(-0.02, 0.02, n)
        return base, np.where(rng.random(n) < loss / 0.8, 0.0, tuned)

    return draw


def _gate(kind: str, margin: float, tag: str | None = None) -> Gate:
    return Gate(metric="m", kind=kind, margin=margin, tag=tag)


GAIN = _gate("gain", 0.0)
HELD = _gate("tolerance", MARGIN, "broken")


def _broken(fast: bool) -> Iterator[SliceCell]:
    """Yield false SHIPs of a pooled gain with a slice that lost exactly its tolerance."""
    for n in (LOOKED,) if fast else SLICES:
        populations = {
            "wins and losses": (_bits(n, 0.05, 0.05 + MARGIN), rules.ZERO_ONE),
            "losses only": (_bits(n, 0.0, MARGIN), rules.ZERO_ONE),
            "total failures of a score": (_failures(n, MARGIN), rules.SCORE),
        }
        for looks in (False, True) if n == LOOKED else (False,):
            for name, (population, metric) in populations.items():
                gain = _bits(REST, 0.5, 0.02)
                after = ", with looks" if looks else ""
                yield SliceCell(
                    f"false SHIP, a slice worse by its tolerance, {name}{after}",
                    (GAIN, HELD),
                    _of_parts({"broken": population, "rest": gain}),
                    _ships,
                    f"{n}+{REST}",
                    metric,
                    looks=looks,
                )
        yield SliceCell(
            "no SHIP, a slice unchanged (10 % discordant)",
            (GAIN, HELD),
            _of_parts({"broken": _bits(n, 0.05, 0.05), "rest": _bits(REST, 0.5, 0.02)}),
            lambda verdict: not _ships(verdict),
            f"{n}+{REST}",
            limit=1 - binary.proof(binary.proofs(n, -MARGIN, 0.90), 0.0, 0.1),
            note=f"limit: the slice alone; a z test that knows the variance {_missed(n, 0.1):.3f}",
        )


def _missed(n: int, discordant: float) -> float:
    """Return how often the z test misses the tolerance at no change, the variance being known."""
    return 1 - normal_tail(normal_upper(0.05) - MARGIN * math.sqrt(n / discordant))


def _goals() -> Iterator[SliceCell]:
    """Yield false SHIPs where one of three slices must gain, and none does."""
    tags = ("a", "b", "c")
    for looks in (False, True):
        yield SliceCell(
            f'false SHIP, goals on 3 tags, goal_rule = "any"{", with looks" if looks else ""}',
            tuple(_gate("gain", 0.0, tag) for tag in tags),
            _of_parts({tag: _bits(60, 0.15, 0.15) for tag in tags}),
            _ships,
            "3x60",
            goal_rule="any",
            looks=looks,
        )


def _families(fast: bool) -> Iterator[SliceCell]:
    """Yield false claims of a regression on unchanged slices and on their mean (Holm)."""
    for count in FAMILIES[:1] if fast else FAMILIES:
        tags = [f"t{i}" for i in range(count)]
        for looks in (False, True) if count == FAMILIES[0] else (False,):
            yield SliceCell(
                f"false REGRESSED, {count} gated slices and their mean unchanged"
                f"{', with looks' if looks else ''}",
                (GAIN, *(_gate("gain", 0.0, tag) for tag in tags)),
                _of_parts({tag: _bits(PART, 0.15, 0.15) for tag in tags}),
                _regresses,
                f"{count}x{PART}",
                looks=looks,
            )


def _losses(fast: bool) -> Iterator[SliceCell]:
    """Yield how often a run that ships names a slice that lost: of unchanged ones, and of one."""
    floor = (_gate("floor", 0.0),)
    for count in UNCHANGED[:1] if fast else UNCHANGED:
        parts = {f"t{i}": _bits(PART, 0.15, 0.15) for i in range(count)}
        yield SliceCell(
            f"a slice said to have lost, {count} unchanged (Benjamini-Hochberg)",
            floor,
            _of_parts(parts),
            _discovers_one,
            f"{count}x{PART}",
            limit=PROMISE,
            note="one of two directions at 10 %",
        )
        by_chance = 1 - 0.95**count
        yield SliceCell(
            f"a slice said to look worse, {count} unchanged",
            floor,
            _of_parts(parts),
            _names_one,
            f"{count}x{PART}",
            limit=by_chance,
            note=f"printed with the number that chance alone names: {0.05 * count:g}",
        )
    n, before, after = REAL
    fell = _bits(n, 0.05, before - after + 0.05)
    others = {f"t{i}": _bits(PART, 0.3, 0.05) for i in range(4)}
    yield SliceCell(
        f"a slice not named that fell by {before - after:.3f} under a gain of the mean",
        (GAIN,),
        _of_parts({"fell": fell, **others}),
        lambda verdict: _ships(verdict) and not _discovers_one(verdict),
        f"{n}+4x{PART}",
        note="one of five slices",
    )
