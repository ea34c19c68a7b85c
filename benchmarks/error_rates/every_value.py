"""Rules on every value of a tag key: errors and power of whole runs.

One value is at its bound while all others gain, so that their mean hides it; or no value has
changed, and none may be said to have lost, or to have a gain that is ruled out. The values are
other cases, or the same cases in other words, which are one cluster each.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks.error_rates import rules
from benchmarks.error_rates.runs import SUITE, Column, Gated, RunCell, flips, manifest_of, rows_of
from benchmarks.error_rates.table import PROMISE, Row, Settings
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateReason
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import Verdict, VerdictRecord

VALUES = (2, 5, 10)
CASES = 80
"""Cases under each value."""
SAME = 0.7
"""Chance that a reworded case ends as the case itself does, under the same rates."""
Chances = tuple[float, float]
"""Of a win, and of a loss."""
UNCHANGED: Chances = (0.15, 0.15)
GAIN: Chances = (0.3, 0.05)
AT_THE_BOUND: dict[str, tuple[Gate, Chances]] = {
    "gain": (Gate(metric="m", kind="gain", margin=0.0), (0.1, 0.1)),
    "tolerance": (Gate(metric="m", kind="tolerance", margin=0.1), (0.05, 0.15)),
    "floor": (Gate(metric="m", kind="floor", margin=0.5, floor_mode="certified"), (0.15, 0.15)),
}
"""Kind of gate → the gate, and the chances of a value that is exactly at its bound."""
WORTHWHILE = Gate(metric="m", kind="gain", margin=0.1, expected_gain=0.25)
"""A gate that expects what `GAIN` brings."""


def rows(settings: Settings) -> list[Row]:
    """Return the error rates, and the chance of a SHIP that is missed."""
    cells = [*_false_ships(), *_false_claims(), *_missed()]
    return [cell.row(settings) for cell in cells[:: 5 if settings.fast else 1]]


def _column(rng: np.random.Generator, chances: Chances, shared: Column | None) -> Column:
    """Return the scores under a value; those of reworded cases are mostly the shared ones."""
    base, tuned = flips(rng, CASES, *chances)
    if shared is None:
        return base, tuned
    same = rng.random(CASES) < SAME
    return np.where(same, shared[0], base), np.where(same, shared[1], tuned)


def _decide(
    rng: np.random.Generator,
    values: list[Chances],
    rule: Gate,
    *,
    reworded: bool,
) -> VerdictRecord:
    """Draw and decide a run with one rule on every value.

    Values with the same chances share what they draw if the cases are reworded.
    """
    shared = {chances: flips(rng, CASES, *chances) for chances in values} if reworded else {}
    drawn = [_column(rng, chances, shared.get(chances)) for chances in values]
    base, tuned = (np.concatenate([column[side] for column in drawn]) for side in (0, 1))
    cases = [
        Case(
            id=str(value * CASES + case),
            prompt=f"p{value}.{case}",
            tags=(f"k:{value}",),
            cluster=f"c{case}" if reworded else None,
        )
        for value in range(len(values))
        for case in range(CASES)
    ]
    gates = [
        rule.model_copy(update={"every": "k", "tag": f"k:{value}"}) for value in range(len(values))
    ]
    suites = {SUITE: [Gated(rules.ZERO_ONE, gate, (base, tuned)) for gate in gates]}
    return decide_run(manifest_of(suites), {SUITE: cases}, rows_of({SUITE: suites[SUITE][:1]}))


def _cell(what: str, errs: partial[bool], count: int, limit: float = PROMISE) -> RunCell:
    return RunCell(what, errs, n=count * CASES, part=10, limit=limit, group="every_value")


def _worded(count: int, *, reworded: bool) -> str:
    return f"{count} values, {'the same cases reworded' if reworded else 'other cases'}"


def _grid() -> Iterator[tuple[int, bool]]:
    yield from ((count, reworded) for count in VALUES for reworded in (False, True))


def _false_ships() -> Iterator[RunCell]:
    """Yield false SHIPs: one value at its bound, and a gain under all others."""

    def ships(rng: np.random.Generator, count: int, kind: str, *, reworded: bool) -> bool:
        rule, at_bound = AT_THE_BOUND[kind]
        values = [at_bound, *[GAIN] * (count - 1)]
        return _decide(rng, values, rule, reworded=reworded).verdict is Verdict.SHIP

    for kind in AT_THE_BOUND:
        for count, reworded in _grid():
            errs = partial(ships, count=count, kind=kind, reworded=reworded)
            yield _cell(
                f"false SHIP, one at its {kind} of {_worded(count, reworded=reworded)}", errs, count
            )


def _false_claims() -> Iterator[RunCell]:
    """Yield false BLOCKs of unchanged values, and false HOLDs at exactly the expected gain."""

    def blocks(rng: np.random.Generator, count: int, *, reworded: bool) -> bool:
        verdict = _decide(rng, [UNCHANGED] * count, AT_THE_BOUND["gain"][0], reworded=reworded)
        return any(gate.reason is GateReason.REGRESSED for gate in verdict.suites[0].gates)

    def holds(rng: np.random.Generator, count: int, *, reworded: bool) -> bool:
        return _decide(rng, [GAIN] * count, WORTHWHILE, reworded=reworded).verdict is Verdict.HOLD

    for count, reworded in _grid():
        worded = _worded(count, reworded=reworded)
        yield _cell(
            f"false BLOCK, unchanged {worded}",
            partial(blocks, count=count, reworded=reworded),
            count,
        )
        yield _cell(
            f"false HOLD, the gain is the expected one, {worded}",
            partial(holds, count=count, reworded=reworded),
            count,
        )


def _missed() -> Iterator[RunCell]:
    """Yield how often a gain of 25 points under each value is not shipped."""

    def missed(rng: np.random.Generator, count: int, *, reworded: bool) -> bool:
        verdict = _decide(rng, [GAIN] * count, AT_THE_BOUND["gain"][0], reworded=reworded)
        return verdict.verdict is not Verdict.SHIP

    for count, reworded in _grid():
        errs = partial(missed, count=count, reworded=reworded)
        yield _cell(
            f"missed SHIP, a gain under {_worded(count, reworded=reworded)}", errs, count, 1.0
        )
