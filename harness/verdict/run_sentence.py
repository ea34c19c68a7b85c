"""The sentence of a run: the gate that decided it, or what a SHIP rests on, with numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunegate.harness.gate_kind import count_noun, gate_kind
from tunegate.harness.records.verdict import (
    GateReason,
    GateResult,
    GateStatus,
    SuiteResult,
    Verdict,
)

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
    GateReason.LOSS_MAY_BE_STYLE: 3,
    GateReason.LOSS_NOT_BOUNDED: 3,
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
        return _ship(suites) + _advisory_failures(suites)
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
    """Return what a SHIP rests on: the goal or the guardrails, with what each of them measured."""
    gates = [(s, g) for s in suites for g in s.gates if not g.advisory]
    holding = [(s, g) for s, g in gates if g.status is GateStatus.PASS]
    goals = [(s, g) for s, g in holding if gate_kind(g.kind).is_goal]
    lost = sum(gate.reason is GateReason.PASS_WITH_LOSS for _, gate in gates)
    if not goals:
        compares = not all(gate_kind(g.kind).reads_level for _, g in gates)
        outcome = "no worse" if compares else "good enough"
        if lost:
            outcome = "worse than base, as far as the gates allow"
        open_ = "no gate asks for a gain" if compares else "no gate compares tuned with base"
        held = f"{outcome}: {_all_gates_hold(len(gates))}; {open_}"
        return f"{held} ({'; '.join(_differences(gates, suites))})"
    suite, goal = goals[0]
    others, missed = len(holding) - 1, len(gates) - len(holding)
    tail = {0: "", 1: "; 1 other gate holds too"}.get(others, f"; {others} other gates hold too")
    if lost:
        tail += f", {lost} of them with a proven loss" if others > 1 else ", with a proven loss"
    if missed:
        verb = "is" if missed == 1 else "are"
        tail += f", and {count_noun(missed, 'further goal')} {verb} not needed"
    rest = [(s, g) for s, g in gates if (s.name, g.subject) != (suite.name, goal.subject)]
    if rest:
        tail += f" ({'; '.join(_differences(rest, suites))})"
    return f"{suite.name}: {goal.sentence}{tail}"


def _advisory_failures(suites: tuple[SuiteResult, ...]) -> str:
    """Return which advisory gates fail under a SHIP: they do not count, and must not be missed."""
    lost = [(s, g) for s in suites for g in s.gates if g.advisory and g.status is GateStatus.FAIL]
    if not lost:
        return ""
    (suite, gate), *more = lost
    others = f" and {len(more)} more" if more else ""
    return f"; advisory, and failing: {suite.name}: {gate.subject}{others}"


_NAMED_DIFFERENCES = 4
"""Differences that the sentence of a run that ships lists."""


def _differences(
    gates: Sequence[tuple[SuiteResult, GateResult]], suites: Sequence[SuiteResult]
) -> Iterator[str]:
    """Yield what the gates measured, proven losses first; a level where nothing compares it."""
    several = len({suite.name for suite in suites}) > 1
    compared = {(s.name, g.subject) for s, g in gates if not gate_kind(g.kind).reads_level}
    shown = [
        (suite, gate)
        for suite, gate in gates
        if not gate_kind(gate.kind).reads_level or (suite.name, gate.subject) not in compared
    ]
    shown.sort(key=lambda pair: pair[1].reason is not GateReason.PASS_WITH_LOSS)
    found = list(
        dict.fromkeys(
            f"{f'{suite.name}: ' if several else ''}{_difference(gate)}" for suite, gate in shown
        )
    )
    yield from found[:_NAMED_DIFFERENCES]
    if len(found) > _NAMED_DIFFERENCES:
        yield f"{len(found) - _NAMED_DIFFERENCES} more"


def _difference(gate: GateResult) -> str:
    """Return a gate's estimate with its interval: `f1 difference −1.0 points on 50 cases`.

    Of a level it is both arms': `f1 90.0 → 80.0 % on 50 cases`.
    """
    kind = gate_kind(gate.kind)
    how = kind.quantity_format(gate)
    if kind.reads_level:
        levels = how.levels(gate.base, gate.tuned)
        return f"{gate.subject} {levels} on {count_noun(gate.n, 'case')}"
    sign = kind.tests_difference
    value = (how.difference if sign else how.level)(kind.value(gate))
    interval = how.interval(gate.low, gate.high, gate.confidence, sign=sign)
    return f"{gate.subject} {kind.quantity} {value}{interval} on {count_noun(gate.n, 'case')}"


def _all_gates_hold(count: int) -> str:
    return {1: "the gate holds", 2: "both gates hold"}.get(count, f"all {count} gates hold")
