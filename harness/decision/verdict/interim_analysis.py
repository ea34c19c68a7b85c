"""Interim analysis: whether a suite may stop at a look.

It stops once its verdict is decided, or its goal is out of reach. Stopping for futility never adds
to the error of SHIP, and it waits while a regression may still be proven.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tunegate.harness.comparison.delta import one_sided
from tunegate.harness.comparison.estimator import exact_mean
from tunegate.harness.comparison.interim_look import FROM_SHARE, FUTILE, InterimLook
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.comparison.sample_size import sample_deviation
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.decision.verdict.decide import suite_results
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.defaults import POWER
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate, Manifest, SuiteRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import SuiteResult, Verdict


def should_stop(
    manifest: Manifest,
    suite: SuiteRecord,
    cases: Sequence[Case],
    scores: Iterable[ScoreRow],
    index: int,
) -> bool:
    """Return whether a suite may stop at a look."""
    assert suite.looks is not None
    look = InterimLook(suite.looks, index)
    (table,) = tables_of(manifest, {suite.name: cases}, scores, {suite.name: look})
    (result,) = suite_results(manifest, [table])
    if result.verdict in (Verdict.SHIP, Verdict.BLOCK, Verdict.HOLD):
        return True
    return result.verdict is Verdict.UNDECIDED and _futile(table, result, look)


def _futile(table: ScoreTable, result: SuiteResult, look: InterimLook) -> bool:
    """Return whether SHIP is out of reach and no regression is in sight.

    Source: conditional power below 10 % at the gain hoped for (Lan, Simon and Halperin 1982),
    non-binding.
    """
    if look.share < FROM_SHARE:
        return False
    gates = list(zip(table.suite.gates, result.gates, strict=True))
    records = {m.name: m for m in table.suite.metrics}
    parts = [table.on_tag(gate.tag) for gate, _ in gates]
    pairs = [part.pairs(records[gate.metric]) for part, (gate, _) in zip(parts, gates, strict=True)]
    judged = [
        (gate, gate_result, of, part.look)
        for part, of, (gate, gate_result) in zip(parts, pairs, gates, strict=True)
    ]
    if any(
        gate_kind(gate.kind).tests_difference and at is not None and _may_regress(gate, of, at)
        for gate, _, of, at in judged
    ):
        return False
    # A slice that waits for its first look may still turn out either way.
    hopeless = [
        at is not None and _hopeless(gate, gate_result, of, at)
        for gate, gate_result, of, at in judged
    ]
    is_goal = [gate_kind(gate.kind).is_goal for gate, _ in gates]
    guards = [h for goal, h in zip(is_goal, hopeless, strict=True) if not goal]
    # A goal on every value of a key is out of reach under one.
    missed: dict[str, bool] = {}
    for (gate, _), goal, lost in zip(gates, is_goal, hopeless, strict=True):
        if goal:
            missed[gate.rule_id] = missed.get(gate.rule_id, False) or lost
    goals = list(missed.values())
    if table.suite.goal_rule == "primary":
        goals = goals[:1]
    no_goal = bool(goals) and (all(goals) if table.suite.goal_rule == "any" else any(goals))
    return no_goal or any(guards)


def _hopeless(gate: Gate, result: GateResult, pairs: Pairs, look: InterimLook) -> bool:
    """Return whether a gate will hardly pass even if the hoped-for effect is true."""
    if result.status is GateStatus.PASS:
        return False
    if result.reason is GateReason.NO_WORTHWHILE_GAIN:
        return False  # it is decided; the other gates may still lead to HOLD
    if look.share >= 1:
        return True  # all cases of the slice are in
    from tunegate.harness.stats.distributions import normal_upper

    judged = gate_kind(gate.kind).judged_pairs(gate, pairs)
    spread = _spread(judged.pairs)
    if spread == 0:
        return False
    final = spread / math.sqrt(len(look.looks.order))
    alpha = one_sided(gate.confidence)
    found_by_most = look.last_bound(alpha) + normal_upper(1 - POWER)
    effect = gate_kind(gate.kind).target_effect(gate, judged.margin + found_by_most * final)
    if effect is None:
        return False
    power = _power(judged.pairs, look, margin=judged.margin, effect=effect, alpha=alpha)
    return power < FUTILE


def _may_regress(gate: Gate, pairs: Pairs, look: InterimLook) -> bool:
    """Return whether all cases may prove the loss seen so far."""
    effect = -exact_mean(pairs.differences) if pairs.n else 0.0
    if effect <= 0 or look.share >= 1:
        return False
    alpha = one_sided(gate.confidence)
    return _spread(pairs) == 0 or (
        _power(pairs.exchanged(), look, margin=0.0, effect=effect, alpha=alpha) >= FUTILE
    )


def _power(pairs: Pairs, look: InterimLook, *, margin: float, effect: float, alpha: float) -> float:
    """Return the chance that the last look clears the margin if `effect` is true."""
    from tunegate.harness.stats.group_sequential import conditional_power

    spread = _spread(pairs)
    return conditional_power(
        (exact_mean(pairs.differences) - margin) * math.sqrt(pairs.n) / spread,
        look.share,
        bound=look.last_bound(alpha),
        drift=(effect - margin) * math.sqrt(len(look.looks.order)) / spread,
    )


def _spread(pairs: Pairs) -> float:
    """Return the standard deviation of the differences; 0 for fewer than two."""
    return sample_deviation(pairs.differences) if pairs.n > 1 else 0.0
