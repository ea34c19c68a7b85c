"""Gates on tags: errors of whole runs whose cases come in slices.

A slice's gate is broken by exactly its margin while everything else gains, so that the mean hides
it; or no slice has changed, and none may be said to have regressed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from benchmarks.error_rates import rules
from benchmarks.error_rates.runs import (
    SUITE,
    Column,
    Gated,
    RunCell,
    flips,
    look_schedule,
    manifest_of,
    rows_of,
)
from benchmarks.error_rates.table import Row, Settings
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateReason
from tunegate.harness.records.manifest import Gate, MetricRecord
from tunegate.harness.records.verdict import Verdict, VerdictRecord

MARGIN = 0.1
SLICES = (60, 100, 200)
"""Cases of a slice whose gate is broken by exactly its margin; the one of 100 also with looks."""
REST, PART = 200, 40
"""Cases outside of it, which gain, and of each of several slices."""
Draw = Callable[[np.random.Generator], Column]


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of gates on tags."""
    cells = [*_broken(), *_families()]
    return [cell.row(settings) for cell in cells[:: 3 if settings.fast else 1]]


def _decide(
    rng: np.random.Generator,
    parts: Mapping[str, Draw],
    gates: Sequence[Gate],
    metric: MetricRecord,
    *,
    looks: bool,
) -> VerdictRecord:
    """Draw and decide a run of these slices; with looks, return the first that decides."""
    drawn = {tag: draw(rng) for tag, draw in parts.items()}
    base, tuned = (np.concatenate([column[i] for column in drawn.values()]) for i in (0, 1))
    tags = [tag for tag, (column, _) in drawn.items() for _ in column]
    n, order = len(tags), rng.permutation(len(tags))
    suites = {SUITE: [Gated(metric, gate, (base[order], tuned[order])) for gate in gates]}
    plan = look_schedule(n, first=20 if metric.binary else 50)
    manifest = manifest_of(suites, looks=plan if looks else None)
    cases = {SUITE: [Case(id=str(k), prompt=f"p{k}", tags=(tags[i],)) for k, i in enumerate(order)]}
    scored = {SUITE: suites[SUITE][:1]}
    if not looks:
        return decide_run(manifest, cases, rows_of(scored))
    for index, size in enumerate(plan.sizes):
        at = {SUITE: InterimLook(plan, index)}
        verdict = decide_run(manifest, cases, rows_of(scored, first=size), looks=at)
        if verdict.verdict in (Verdict.SHIP, Verdict.BLOCK, Verdict.HOLD):
            break
    return verdict


def _failures(rng: np.random.Generator, n: int, loss: float) -> Column:
    """Return bounded scores with little noise; a share of `loss` / .8 of them fail wholly."""
    base = np.full(n, 0.8)
    tuned = base + rng.uniform(-0.02, 0.02, n)
    return base, np.where(rng.random(n) < loss / 0.8, 0.0, tuned)


def _gate(kind: str, margin: float, tag: str | None = None) -> Gate:
    return Gate(metric="m", kind=kind, margin=margin, tag=tag)


def _broken() -> Iterator[RunCell]:
    """Yield false SHIPs of a pooled gain with a slice that lost exactly its tolerance."""
    gates = (_gate("gain", 0.0), _gate("tolerance", MARGIN, "broken"))
    rest: Draw = partial(flips, n=REST, win=0.5, lose=0.02)

    def errs(rng: np.random.Generator, broken: Draw, metric: MetricRecord, *, looks: bool) -> bool:
        parts = {"broken": broken, "rest": rest}
        return _decide(rng, parts, gates, metric, looks=looks).verdict is Verdict.SHIP

    for n in SLICES:
        populations: dict[str, tuple[Draw, MetricRecord]] = {
            "wins and losses": (partial(flips, n=n, win=0.05, lose=0.15), rules.ZERO_ONE),
            "losses only": (partial(flips, n=n, win=0.0, lose=MARGIN), rules.ZERO_ONE),
            "total failures of a score": (partial(_failures, n=n, loss=MARGIN), rules.SCORE),
        }
        for looks in (False, True) if n == SLICES[1] else (False,):
            for name, (broken, metric) in populations.items():
                yield RunCell(
                    f"false SHIP, a slice of {n} worse by its tolerance, {name}"
                    f"{', with looks' if looks else ''}",
                    partial(errs, broken=broken, metric=metric, looks=looks),
                    n=n + REST,
                    part=25 if looks else 20,
                    group="slices",
                )


def _families() -> Iterator[RunCell]:
    """Yield false claims of a regression on unchanged slices and on their mean (Holm)."""

    def errs(rng: np.random.Generator, count: int, *, looks: bool) -> bool:
        tags = [f"t{i}" for i in range(count)]
        parts: dict[str, Draw] = {tag: partial(flips, n=PART, win=0.15, lose=0.15) for tag in tags}
        gates = [_gate("gain", 0.0), *(_gate("gain", 0.0, tag) for tag in tags)]
        verdict = _decide(rng, parts, gates, rules.ZERO_ONE, looks=looks)
        return any(gate.reason is GateReason.REGRESSED for gate in verdict.suites[0].gates)

    for count, looks in ((5, False), (5, True), (10, False)):
        yield RunCell(
            f"false REGRESSED, {count} gated slices and their mean unchanged"
            f"{', with looks' if looks else ''}",
            partial(errs, count=count, looks=looks),
            n=count * PART,
            part=25 if looks else 20,
            group="slices",
        )
