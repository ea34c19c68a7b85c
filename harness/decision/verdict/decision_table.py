"""The decision table: from the gates of a suite to its verdict."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.harness.comparison.delta import one_sided
from tunegate.harness.contracts.further_arm import PROMPTED
from tunegate.harness.contracts.quantity import quantity_of
from tunegate.harness.decision.gating.every_value import (
    NO_REASON_TO_SHIP,
    by_rule,
    largest_p,
    worst_of_rules,
)
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import SuiteRecord, gate_subject
from tunegate.harness.records.verdict import Verdict


def suite_verdict(suite: SuiteRecord, gates: Sequence[GateResult]) -> Verdict:
    """Apply the decision table: ERROR, then BLOCK, SHIP, HOLD, else UNDECIDED."""
    counted = [g for g in gates if not g.advisory]
    if any(g.status is GateStatus.ERROR for g in counted):
        return Verdict.ERROR
    failed_gates = [g for g in counted if g.status is GateStatus.FAIL]
    if any(g.reason not in NO_REASON_TO_SHIP for g in failed_gates):
        return Verdict.BLOCK
    guards = [g for g in counted if not gate_kind(g.kind).is_goal]
    guards_hold = all(g.status is GateStatus.PASS for g in guards)
    if not counted or not guards_hold:
        return Verdict.UNDECIDED
    # The rule holds for the goals against each reference by themselves: all of them are needed.
    ended = [_on_goals(suite, goals) for goals in _needed_goals(suite, gates)]
    for verdict in (Verdict.UNDECIDED, Verdict.HOLD):
        if verdict in ended:
            return verdict
    return Verdict.SHIP


def _on_goals(suite: SuiteRecord, needed: Sequence[GateResult]) -> Verdict:
    """Return what the needed goals against one reference decide: SHIP, HOLD or UNDECIDED."""
    goals = [g for g in needed if not g.advisory]
    if not goals:  # if every needed goal is advisory, nothing shows that one was reached
        return Verdict.UNDECIDED
    if _goal_rule_holds(suite, goals):
        return Verdict.SHIP
    # If any goal would do, all of them must be ruled out.
    still_open = [g for g in goals if suite.goal_rule == "any" or g.status is not GateStatus.PASS]
    if all(g.reason in NO_REASON_TO_SHIP for g in still_open):
        return Verdict.HOLD
    return Verdict.UNDECIDED


def _needed_goals(suite: SuiteRecord, gates: Sequence[GateResult]) -> list[list[GateResult]]:
    """Return the goals that the suite's rule asks for, by reference; no list without a goal.

    A goal on every value of a key is as its worst gate.
    """
    goals: dict[str | None, list[GateResult]] = {}
    for gate in worst_of_rules(gates):
        if gate_kind(gate.kind).is_goal:
            goals.setdefault(gate.against, []).append(gate)
    return [of[:1] if suite.goal_rule == "primary" else of for of in goals.values()]


def held_by_prompt(suite: SuiteRecord, gates: tuple[GateResult, ...]) -> tuple[GateResult, ...]:
    """Return the gates, with goals against the prompted base failed that a prompt alone reaches.

    A proven loss says that the prompt does it better, and not that something of base broke. A goal
    on every value of a key is reached if the prompt reaches it under each.
    """
    proven = {
        (gate.metric, gate.tag)
        for gate in gates
        if gate.against is None and gate.status is GateStatus.PASS and gate_kind(gate.kind).is_goal
    }
    reached = {
        gate.id
        for rule in by_rule(gates)
        if all((gate.metric, gate.tag) in proven and _rules_out_gain(gate) for gate in rule)
        for gate in rule
    }
    prompt = suite.arm_prompts.get(PROMPTED)
    return tuple(
        _failed_by_prompt(gate, prompt.words if prompt else "a prompt")
        if gate.against == PROMPTED
        and gate_kind(gate.kind).is_goal
        and not gate.advisory
        and (gate.reason is GateReason.REGRESSED or gate.id in reached)
        else gate
        for gate in gates
    )


def _rules_out_gain(gate: GateResult) -> bool:
    """Return whether the gain asked is ruled out, or the one worth having, and none shows."""
    if gate.low is None or gate.high is None or isinstance(gate.margin, str):
        return False
    least, most = (gate.low, gate.high) if gate.higher_is_better else (-gate.high, -gate.low)
    unproven = gate.reason is GateReason.UNDERPOWERED and most < gate.margin
    return least <= 0 and (unproven or gate.reason is GateReason.NO_WORTHWHILE_GAIN)


def _failed_by_prompt(gate: GateResult, prompt: str) -> GateResult:
    how, words = quantity_of(gate), gate.label or gate.metric.replace("_", " ")
    metric = gate_subject(words, gate.tag)
    return gate.model_copy(
        update={
            "status": GateStatus.FAIL,
            "reason": GateReason.PROMPT_SUFFICES,
            "sentence": f"a prompt alone does it: base with {prompt} reaches "
            f"{how.level(gate.base)} {metric}, tuned {how.level(gate.tuned)}",
            "needed_n": None,
            "needed_most": None,
            "missing": None,
        }
    )


def _goal_rule_holds(suite: SuiteRecord, goals: Sequence[GateResult]) -> bool:
    if not goals:
        return True
    if suite.goal_rule != "any":
        return all(g.status is GateStatus.PASS for g in goals)
    if suite.looks is not None:  # the goals share the error already: see `InterimLook.judged`
        return any(g.status is GateStatus.PASS for g in goals)
    passed = [goal for goal in goals if goal.status is GateStatus.PASS]
    return len(passed) > len(goals_lost_to_holm(suite, goals))


def goals_lost_to_holm(
    suite: SuiteRecord, gates: Sequence[GateResult]
) -> list[tuple[GateResult, str]]:
    """Return the goals proven only by themselves, not as one of several; and why, in words."""
    if suite.goal_rule != "any" or suite.looks is not None:
        return []
    from tunegate.harness.stats.multiplicity import holm

    p_values = {rule[0].rule_id: largest_p(rule) for rule in by_rule(gates)}
    lost = []
    for needed in _needed_goals(suite, gates):
        goals = [goal for goal in needed if not goal.advisory]
        if not goals:
            continue
        alone = [p_values[goal.rule_id] for goal in goals]
        for goal, p, adjusted in zip(goals, alone, holm(alone), strict=True):
            alpha = one_sided(goal.confidence)
            if goal.status is GateStatus.PASS and adjusted > alpha + 1e-12:
                why = (
                    f"only by itself: as one of {len(goals)} goals of which any would do, Holm's "
                    f"adjustment makes p = {p:.2g} to {adjusted:.2g}, above {alpha:.2g}"
                )
                lost.append((goal, why))
    return lost
