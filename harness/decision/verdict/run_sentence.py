"""The headline of a run: the gate that decided it, or what a SHIP rests on, in 25 words."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.harness.contracts.further_arm import TEACHER
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.gates.contract.sentences import gate_headline, gate_words
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.verdict import SuiteResult, Verdict, headline
from tunegate.harness.records.wording import count_noun

_SEVERITY: dict[GateReason | None, int] = {
    GateReason.UNSCORED: 0,
    GateReason.CANARY: 0,
    GateReason.BELOW_FLOOR: 0,
    GateReason.ABOVE_CEILING: 0,
    GateReason.REGRESSED: 1,
    GateReason.SEVERE_DROPS: 1,
    GateReason.BOUND_BROKEN: 1,
    GateReason.NO_WORTHWHILE_GAIN: 2,
    GateReason.PROMPT_SUFFICES: 2,
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
"""Verdict → statuses of the gates that may have led to it."""


def run_sentence(verdict: Verdict, suites: tuple[SuiteResult, ...]) -> str:
    """Return in at most 25 words what decided the run: metric, what happened, which bound."""
    if verdict is Verdict.SHIP and (shown := headline_gate(verdict, suites)) is not None:
        return _ship(suites, *shown)
    deciding = deciding_gate(verdict, suites)
    if deciding is None:
        decisive = [s for s in suites if s.verdict is verdict and s.gates]
        decisive.sort(key=lambda suite: not all(map(_holds, suite.gates)))
        notes = [note for suite in decisive for note in suite.notes]
        return headline(notes[0]) if notes else "no gate was judged"
    suite, gate = deciding
    others = sum(not _holds(g) and g.n > 0 for s in suites for g in s.rules) - (gate.n > 0)
    tail = {0: "", 1: "; 1 other gate does not hold either"}.get(
        others, f"; {others} other gates do not hold either"
    )
    return headline(f"{suite.name}: {gate_headline(gate)}", tail)


def deciding_gate(
    verdict: Verdict, suites: Sequence[SuiteResult]
) -> tuple[SuiteResult, GateResult] | None:
    """Return the gate that explains a verdict best; None if a note does."""
    decisive = [s for s in suites if s.verdict is verdict and s.gates]
    # A cap comes first, since every gate of the suite may hold.
    if any(suite.notes and all(map(_holds, suite.gates)) for suite in decisive):
        return None
    candidates = [
        (suite, gate)
        for suite in decisive
        for gate in suite.rules
        if not _holds(gate) and gate.status in _DECISIVE.get(verdict, ())
    ]
    return min(candidates, key=lambda pair: _rank(verdict, pair[1]), default=None)


def headline_gate(
    verdict: Verdict, suites: Sequence[SuiteResult]
) -> tuple[SuiteResult, GateResult] | None:
    """Return the gate that a headline is about; under a cap, the one that it would be about."""
    if verdict is not Verdict.SHIP and (deciding := deciding_gate(verdict, suites)) is not None:
        return deciding
    capped = [suite for suite in suites if suite.verdict is verdict and suite.counts]
    gates = [(s, g) for s in capped or suites for g in s.rules if not g.advisory]
    return min(
        gates,
        key=lambda pair: (
            not (gate_kind(pair[1].kind).is_goal and pair[1].status is GateStatus.PASS),
            pair[1].reason is not GateReason.PASS_WITH_LOSS,
            gate_kind(pair[1].kind).reads_level,
        ),
        default=None,
    )


def _holds(gate: GateResult) -> bool:
    return gate.advisory or gate.status is GateStatus.PASS


def _rank(verdict: Verdict, gate: GateResult) -> tuple[bool, int, float]:
    """Order gates by how well they explain the verdict, best first."""
    reason = gate.reason or GateReason.FILTERED
    held_back = verdict is not Verdict.UNDECIDED or gate.status is GateStatus.UNDECIDED
    # A loss comes before a bound that base may never have reached.
    lost = reason is GateReason.REGRESSED and not gate_kind(gate.kind).is_goal
    severity = -1 if lost else _SEVERITY.get(reason, len(_SEVERITY))
    return (not held_back, severity, -_excess(gate))


def _excess(gate: GateResult) -> float:
    """Return a proven loss divided by its margin; 0 for other outcomes."""
    if gate.reason is not GateReason.REGRESSED or isinstance(gate.margin, str):
        return 0.0
    return abs(gate.delta or 0.0) / gate.margin if gate.margin > 0 else 0.0


def _ship(suites: tuple[SuiteResult, ...], suite: SuiteResult, gate: GateResult) -> str:
    """Return what a SHIP rests on: its goal, or the most telling guardrail."""
    gates = [g for s in suites for g in s.rules if not g.advisory]
    holding = [g for g in gates if g.status is GateStatus.PASS]
    lost = sum(gate.reason is GateReason.PASS_WITH_LOSS for gate in gates)
    if replaced := _as_good_as_teacher(suites):
        rest = len(holding) - len(replaced[1])
        tail = f"; {count_noun(rest, 'other gate holds', 'other gates hold')}" if rest else ""
        tail += f"; {count_noun(lost, 'gate')} with a proven loss" if lost else ""
        return headline(replaced[0], _advisory_failures(suites), tail)
    if not gate_kind(gate.kind).is_goal:
        core, held = _without_goal(suite, gate, gates)
        return headline(core, _advisory_failures(suites), f"; {held}")
    others, missed = len(holding) - 1, len(gates) - len(holding)
    tail = {0: "", 1: "; 1 other gate holds"}.get(others, f"; {others} other gates hold")
    if lost:
        tail += f", {lost} with a proven loss" if others > 1 else " with a proven loss"
    core = f"{suite.name}: {gate_headline(gate)}"
    unmet = f"; {count_noun(missed, 'further goal')} not needed" if missed else ""
    return headline(core, _advisory_failures(suites), tail, unmet)


def _as_good_as_teacher(suites: Sequence[SuiteResult]) -> tuple[str, list[GateResult]] | None:
    """Return that tuned may replace the teacher, at what ratio, and the gates that prove it."""
    passed = [
        (suite, gate)
        for suite in suites
        for gate in suite.gates
        if gate.against == TEACHER and gate.status is GateStatus.PASS and not gate.advisory
    ]
    close = next(((s, g) for s, g in passed if gate_kind(g.kind).tests_difference), None)
    if close is None:
        return None
    suite, gate = close
    named = gate.model_copy(update={"against": None})
    told = f"{suite.name}: {named.words} {gate_words(gate, 'movement')} from the teacher to tuned"
    if not gate_kind(gate.kind).is_goal:
        told = (
            f"{suite.name}: as good as the teacher within {gate_words(gate, 'margin')} of "
            f"{named.words}"
        )
    # Two equal arms have a ratio of 1.
    ratios = (g for _, g in passed if gate_kind(g.kind).reference(g) == 1)
    ratio = next(ratios, None)
    if ratio is None or ratio.estimate is None:
        return told, [gate]
    of_its = (ratio.label or ratio.metric.replace("_", " ")).removesuffix(" of a call")
    return f"{told}, at {_percent(100 * ratio.estimate)} % of its {of_its}", [gate, ratio]


def _percent(value: float) -> str:
    """Return a share in per cent: two digits below ten, whole numbers above."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _without_goal(
    suite: SuiteResult, gate: GateResult, gates: Sequence[GateResult]
) -> tuple[str, str]:
    """Return what the most telling gate measured, and how many gates hold."""
    compares = not all(gate_kind(g.kind).reads_level for g in gates)
    outcome = "no worse" if compares else "good enough"
    if gate.reason is GateReason.PASS_WITH_LOSS:
        outcome = "worse than base, as far as the gates allow"
    named = f"{suite.name}: {gate_headline(gate)}"
    held = {1: "the gate holds", 2: "both gates hold"}.get(
        len(gates), f"all {len(gates)} gates hold"
    )
    return f"{outcome}: {named}", held if compares else "no gate compares tuned with base"


def _advisory_failures(suites: tuple[SuiteResult, ...]) -> str:
    """Return which advisory gates fail despite SHIP."""
    lost = [(s, g) for s in suites for g in s.gates if g.advisory and g.status is GateStatus.FAIL]
    if not lost:
        return ""
    (suite, gate), *more = lost
    others = f" and {len(more)} more" if more else ""
    return f"; advisory, and failing: {suite.name}: {gate.subject}{others}"
