"""Gates against a third arm: false SHIPs over a prompted base or a teacher, and false alarms.

Base is far below the other two, the worst case for a SHIP: only the gate in question can stop it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.error_rates import rules, runs
from benchmarks.error_rates.table import Row, Settings
from tunegate.harness.contracts.further_arm import PROMPTED, TEACHER
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import Verdict

GAIN = Gate(metric="m", kind="gain", margin=0.0, expected_gain=0.1)
TOLERANCE = Gate(metric="m", kind="tolerance", margin=runs.MARGIN)
CASES = (40, 100, 400)


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of gates against a third arm, alone and in a family."""
    cells = [*_alone(), *(_alarms(count) for count in (1, 5))]
    return [cell.row(settings) for cell in cells[:: 3 if settings.fast else 1]]


def _verdict(parts: Sequence[runs.Gated], gates: Sequence[Gate], arm: str) -> Verdict:
    """Return the verdict on one suite, whose parts have the scores of base, tuned and `arm`."""
    suites = {runs.SUITE: parts}
    manifest = runs.manifest_of(suites)
    (suite,) = manifest.suites
    suite = suite.model_copy(update={"gates": tuple(gates)})
    scores = runs.rows_of(suites, (*runs.ARMS, arm))
    manifest = manifest.model_copy(update={"suites": (suite,)})
    return decide_run(manifest, runs.cases_of(suites), scores).verdict


def _part(name: str, base: runs.Floats, tuned: runs.Floats, third: runs.Floats) -> runs.Gated:
    return runs.gated(name, "tolerance", runs.MARGIN, (base, tuned, third), rules.ZERO_ONE)


def _alone() -> Iterator[runs.RunCell]:
    """Yield false SHIPs of one gate whose bound is exactly reached, far above base."""
    bounds = (
        (TEACHER, TOLERANCE, runs.WORSE, "tuned worse than the teacher by the tolerance"),
        (PROMPTED, GAIN, runs.NONE, "tuned no better than the prompted base"),
    )
    for arm, gate, (win, lose), what in bounds:
        for n in CASES:
            yield runs.RunCell(
                f"false SHIP, {what}",
                _ships(arm, gate, n, win, lose),
                n=n,
                part=5,
                group="references",
            )


def _ships(arm: str, gate: Gate, n: int, win: float, lose: float) -> Callable[..., bool]:
    gates = (GAIN, gate.model_copy(update={"against": arm}))

    def errs(rng: np.random.Generator) -> bool:
        third, tuned = runs.flips(rng, n, win, lose)
        base = (rng.random(n) < 0.1) * tuned  # far below both
        return _verdict([_part("m", base, tuned, third)], gates, arm) is Verdict.SHIP

    return errs


def _alarms(count: int) -> runs.RunCell:
    """Return false BLOCKs of tolerances against base and against a teacher, all three alike."""
    names = [f"m{i}" for i in range(count)]
    gates = [
        TOLERANCE.model_copy(update={"metric": name, "against": arm})
        for name in names
        for arm in (None, TEACHER)
    ]

    def errs(rng: np.random.Generator) -> bool:
        parts = []
        for name in names:
            base, tuned = runs.flips(rng, runs.CASES, *runs.NONE)
            changed = rng.random(runs.CASES) < sum(runs.NONE)
            third = np.where(changed, 1 - tuned, tuned)
            parts.append(_part(name, base, tuned, third))
        return _verdict(parts, gates, TEACHER) is Verdict.BLOCK

    what = f"false BLOCK, tolerances: {count} against base and {count} against a teacher, all alike"
    return runs.RunCell(what, errs, part=8, group="references")
