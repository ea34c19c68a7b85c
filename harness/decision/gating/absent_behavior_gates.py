"""Guardrails of a behavior that base does not have.

A metric may name a part of its scores (`Metric.only_if_base_has`), such as whether the model
thinks. If that part is 0 in every score of base, there is nothing to lose, and gates that compare
with base are left out. Only base counts, so tuned cannot get rid of a gate.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.manifest import SuiteRecord
from tunegate.harness.records.scores import ScoreRow


def active_suite(suite: SuiteRecord, rows: Iterable[ScoreRow]) -> SuiteRecord:
    """Return a suite without gates of absent behaviors and their metrics; goals and bounds stay."""
    absent = {m.name: m.only_if_base_has for m in suite.metrics if m.only_if_base_has is not None}
    for row in rows if absent else ():
        part = absent.get(row.metric) if row.arm == "base" else None
        if part is not None and (row.parts or {}).get(part):
            del absent[row.metric]
    if not absent:
        return suite
    gates = tuple(
        gate
        for gate in suite.gates
        if gate.metric not in absent
        or gate_kind(gate.kind).is_goal
        or gate_kind(gate.kind).reads_level
    )
    kept = {gate.metric for gate in gates}
    metrics = tuple(m for m in suite.metrics if m.name not in absent or m.name in kept)
    return suite.model_copy(update={"metrics": metrics, "gates": gates})
