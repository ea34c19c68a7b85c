"""Rules that must hold under every value of a tag key: one gate for each value, judged together.

The rule holds only if each of its gates holds, so each is tested at the full level without a
correction among them (intersection-union test), and its p-value is the largest of theirs. What any
one of them could claim by chance shares the error: proven losses by Holm's procedure over all gates
of the run, a gain that is ruled out by Bonferroni's inequality over the values.

Source: Berger (1982), Technometrics 24:295-300.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus

NO_REASON_TO_SHIP = (GateReason.NO_WORTHWHILE_GAIN, GateReason.PROMPT_SUFFICES)
"""Reasons of goals that are missed although nothing broke."""
_ORDER = (GateStatus.ERROR, GateStatus.FAIL, GateStatus.UNDECIDED, GateStatus.PASS)


def by_rule(gates: Iterable[GateResult]) -> list[list[GateResult]]:
    """Return the gates of each rule: one, or those on every value of a key."""
    rules: dict[str, list[GateResult]] = {}
    for gate in gates:
        rules.setdefault(gate.rule_id, []).append(gate)
    return list(rules.values())


def worst_of_rules(gates: Iterable[GateResult]) -> list[GateResult]:
    """Return the worst gate of each rule."""
    return [min(rule, key=_badness) for rule in by_rule(gates)]


def mark_worst(gates: Sequence[GateResult]) -> tuple[GateResult, ...]:
    """Return the gates, with the worst of each rule on every value marked."""
    worst = {gate.id for gate in worst_of_rules(gates) if gate.every is not None}
    return tuple(
        gate.model_copy(update={"worst": True}) if gate.id in worst else gate for gate in gates
    )


def measured_range(rule: Sequence[GateResult]) -> str:
    """Return `range 8.0 points`: the largest minus the smallest value that the gates measured.

    Empty if fewer than two gates measured one.
    """
    values = [v for gate in rule if (v := gate_kind(gate.kind).value(gate)) is not None]
    if len(values) < 2:
        return ""
    how = gate_kind(rule[0].kind).quantity_format(rule[0])
    return f"range {how.size(max(values) - min(values))}"


def count_together(gates: Sequence[GateResult]) -> tuple[GateResult, ...]:
    """Return the gates; one that is advisory beside one that counts is undecided, and counts.

    Else the rule would hold under every value without evidence for some.
    """
    counting = {gate.rule_id for gate in gates if gate.every is not None and not gate.advisory}
    return tuple(
        _as_open(gate) if gate.advisory and gate.rule_id in counting else gate for gate in gates
    )


def _as_open(gate: GateResult) -> GateResult:
    key = f"the rule is for every {gate.every}, so it is open where it cannot count"
    return gate.model_copy(
        update={
            "status": GateStatus.UNDECIDED,
            "reason": GateReason.UNDERPOWERED,
            "sentence": f"{gate.sentence}; {key}",
            "advisory": False,
            "needed_n": None,
            "needed_most": None,
        }
    )


def largest_p(rule: Iterable[GateResult]) -> float:
    """Return the p-value of a rule; 1 if one of its gates has none."""
    return max(1.0 if gate.p_value is None else gate.p_value for gate in rule)


def _badness(gate: GateResult) -> tuple[int, bool, float, float]:
    """Order the gates of a rule, the worst first: the outcome, then what was measured.

    Of gates that all hold, the one that is proven least is the worst.
    """
    kind = gate_kind(gate.kind)
    value = kind.value(gate)
    measured = float("-inf")
    if value is not None:
        measured = value if kind.passes_above(gate) else -value
    holds, held = gate.status is GateStatus.PASS, gate.reason in NO_REASON_TO_SHIP
    return _ORDER.index(gate.status), held, -largest_p([gate]) if holds else 0.0, measured
