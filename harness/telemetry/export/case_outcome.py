"""Outcome of a case: whether tuned did worse than base on it.

Only metrics with a gate count. Metrics of time do not: the time of a single case is mostly noise.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.records.answers import ALONE
from tunegate.harness.telemetry.export.run_records import CaseRecord

if TYPE_CHECKING:
    pass


_EPSILON = 1e-6
"""Differences below this are rounding."""


class CaseOutcome(StrEnum):
    """How a case went, the worst first."""

    UNSCORED = "unscored"
    """An answer or a score is missing in one of the arms."""
    REGRESSED = "regressed"
    """Some gated metric is worse with tuned than with base."""
    IMPROVED = "improved"
    """Some gated metric is better with tuned, and none is worse."""
    UNCHANGED = "unchanged"

    @property
    def result(self) -> str:
        """The outcome as `test.case.result.status`."""
        return "fail" if self in (CaseOutcome.UNSCORED, CaseOutcome.REGRESSED) else "pass"


def case_outcome(record: CaseRecord) -> CaseOutcome:
    """Return how a case went."""
    gated = {gate.metric for gate in record.suite.gates}
    ranked = {
        metric.name: metric.higher_is_better
        for metric in record.suite.metrics
        if metric.name in gated and metric.needs not in ALONE
    }
    values = {(row.metric, row.arm): row.value for row in record.scores if row.metric in ranked}
    failed = any(c.status != "ok" and further_arm(c.cell.arm).reported for c in record.cells)
    if failed or None in values.values():
        return CaseOutcome.UNSCORED
    changes = [
        (after - before) * (1 if higher else -1)
        for name, higher in ranked.items()
        if (before := values.get((name, "base"))) is not None
        and (after := values.get((name, "tuned"))) is not None
    ]
    if any(change < -_EPSILON for change in changes):
        return CaseOutcome.REGRESSED
    improved = any(change > _EPSILON for change in changes)
    return CaseOutcome.IMPROVED if improved else CaseOutcome.UNCHANGED
