"""The decision table: from the gates of a suite to its verdict."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.harness.comparison.delta import one_sided
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import SuiteRecord
from tunegate.harness.records.verdict import Verdict


def suite_verdict(suite: SuiteRecord, gates: Sequence[GateResult]) -> Verdict:
    """Apply the decision table: ERROR, then BLOCK, SHIP, HOLD, else UNDECIDED."""
    counted = [g for g in gates if not g.advisory]
    if any(g.status is GateStatus.ERROR for g in counted):
        return Verdict.ERROR
    failed_gates = [g for g in counted if g.status is GateStatus.FAIL]
    if any(g.reason is not GateReason.NO_WORTHWHILE_GAIN for g in failed_gates):
        return Verdict.BLOCK
    needed = _needed_goals(suite, gates)
    goals = [g for g in needed if not g.advisory]
    guards = [g for g in counted if not gate_kind(g.kind).is_goal]
    guards_hold = all(g.status is GateStatus.PASS for g in guards)
    # If every needed goal is advisory, nothing shows that one was reached.
    if not counted or not guards_hold or (needed and not goals):
        return Verdict.UNDECIDED
    if _goal_rule_holds(suite, goals):
        return Verdict.SHIP
    # If any goal would do, all of them must be ruled out.
    still_open = [g for g in goals if suite.goal_rule == "any" or g.status is not GateStatus.PASS]
    if all(g.reason is GateReason.NO_WORTHWHILE_GAIN for g in still_open):
        return Verdict.HOLD
    return Verdict.UNDECIDED


def _needed_goals(suite: SuiteRecord, gates: Sequence[GateResult]) -> list[GateResult]:
    goals = [g for g in gates if gate_kind(g.kind).is_goal]
    return goals[:1] if suite.goal_rule == "primary" else goals


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
    goals = [g for g in gates if gate_kind(g.kind).is_goal and not g.advisory]
    if suite.goal_rule != "any" or suite.looks is not None or not goals:
        return []
    from tunegate.harness.stats.multiplicity import holm

    alone = [1.0 if goal.p_value is None else goal.p_value for goal in goals]
    lost = []
    for goal, p, adjusted in zip(goals, alone, holm(alone), strict=True):
        alpha = one_sided(goal.confidence)
        if goal.status is GateStatus.PASS and adjusted > alpha + 1e-12:
            why = (
                f"only by itself: as one of {len(goals)} goals of which any would do, Holm's "
                f"adjustment makes p = {p:.2g} to {adjusted:.2g}, above {alpha:.2g}"
            )
            lost.append((goal, why))
    return lost
