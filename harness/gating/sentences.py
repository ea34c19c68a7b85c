"""Sentences about a run: what decided it, and which gates have too little to be decided on."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.harness.comparison.corpus_level import LEAST
from tunegate.harness.gate_kind import counted, gate_kind
from tunegate.harness.records.verdict import (
    GateReason,
    GateResult,
    GateStatus,
    SuiteResult,
    Verdict,
)


def too_many_unscored(
    metric: str, arm: str, count: int, asked: int, allowed: float, reason: str
) -> str:
    """Return the sentence of a gate whose metric has too few scores."""
    verb = "is" if count == 1 else "are"
    return (
        f"{metric}: {count} of {counted(asked, 'case')} of {arm} {verb} unscored, more than the "
        f"{100 * allowed:g} % that the suite allows ({reason})"
    )


def few_for_corpus(metric: str, cases: int) -> str:
    """Return why gates on a corpus value have no say."""
    return (
        f"{metric}: one value over all cases gates from {LEAST} of them on; with "
        f'{counted(cases, "case")} its gates are advisory: add cases, or set aggregate = "mean"'
    )


def judged_once(metrics: Sequence[str]) -> str:
    """Return why a suite with such metrics is not looked at while it runs."""
    names = " and ".join(metrics)
    return f"{names}: one value over all cases is judged once, so that the suite cannot end early"


def not_without_them(suite: str, count: int) -> str:
    """Return the note on gates that hold on the scored cases alone."""
    others = "unscored one" if count == 1 else f"{count} unscored ones"
    return f"{suite}: the gates hold on the scored cases, but not if the {others} went wrong"


_SEVERITY: dict[GateReason | None, int] = {
    GateReason.UNSCORED: 0,
    GateReason.CANARY: 0,
    GateReason.BELOW_FLOOR: 0,
    GateReason.ABOVE_CEILING: 0,
    GateReason.REGRESSED: 1,
    GateReason.SEVERE_DROPS: 1,
    GateReason.BOUND_BROKEN: 1,
    GateReason.NO_WORTHWHILE_GAIN: 2,
    GateReason.INSENSITIVE: 3,
    GateReason.WITHIN_NOISE: 3,
    GateReason.NOT_COMPUTABLE: 3,
    GateReason.UNDERPOWERED: 4,
    GateReason.FILTERED: 5,
}
_DECISIVE: dict[Verdict, tuple[GateStatus, ...]] = {
    Verdict.ERROR: (GateStatus.ERROR,),
    Verdict.BLOCK: (GateStatus.FAIL,),
    Verdict.HOLD: (GateStatus.FAIL,),
    Verdict.UNDECIDED: (GateStatus.UNDECIDED, GateStatus.FAIL),
}
"""Verdict → statuses of the gates that can have led to it."""


def run_sentence(verdict: Verdict, suites: tuple[SuiteResult, ...]) -> str:
    """Return the sentence that decided the run, naming gate and numbers."""
    if verdict is Verdict.SHIP:
        return _ship(suites)
    decisive = [s for s in suites if s.verdict is verdict and s.gates]
    for suite in decisive:
        # A cap speaks first: every gate of the suite may hold.
        if suite.notes and all(_holds(gate) for gate in suite.gates):
            return suite.notes[0]
    candidates = [
        (suite, gate)
        for suite in decisive
        for gate in suite.gates
        if not _holds(gate) and gate.status in _DECISIVE[verdict]
    ]
    if not candidates:
        notes = [note for suite in decisive for note in suite.notes]
        return notes[0] if notes else "no gate was judged"
    suite, gate = min(candidates, key=lambda pair: _rank(verdict, pair[1]))
    others = sum(not _holds(g) for s in suites for g in s.gates) - 1
    tail = {0: "", 1: " (1 other gate does not hold either)"}.get(
        others, f" ({others} other gates do not hold either)"
    )
    return f"{suite.name}: {gate.sentence}{tail}"


def _holds(gate: GateResult) -> bool:
    return gate.advisory or gate.status is GateStatus.PASS


def _rank(verdict: Verdict, gate: GateResult) -> tuple[bool, int]:
    """Order gates by how much they explain the verdict, the best first."""
    reason = gate.reason or GateReason.FILTERED
    held_back = verdict is not Verdict.UNDECIDED or gate.status is GateStatus.UNDECIDED
    return (not held_back, _SEVERITY.get(reason, len(_SEVERITY)))


def _ship(suites: tuple[SuiteResult, ...]) -> str:
    gates = [(s, g) for s in suites for g in s.gates if not g.advisory]
    holding = [(s, g) for s, g in gates if g.status is GateStatus.PASS]
    goals = [(s, g) for s, g in holding if gate_kind(g.kind).is_goal]
    if not goals and all(gate_kind(g.kind).reads_level for _, g in gates):
        return f"good enough: {_all(len(gates))}; no gate compares tuned with base"
    if not goals:
        return f"no worse: {_all(len(gates))}; no gate asks for a gain"
    suite, goal = goals[0]
    others, missed = len(holding) - 1, len(gates) - len(holding)
    tail = {0: "", 1: "; 1 other gate holds too"}.get(others, f"; {others} other gates hold too")
    if missed:
        verb = "is" if missed == 1 else "are"
        tail += f", and {counted(missed, 'further goal')} {verb} not needed"
    return f"{suite.name}: {goal.sentence}{tail}"


def _all(count: int) -> str:
    return {1: "the gate holds", 2: "both gates hold"}.get(count, f"all {count} gates hold")
