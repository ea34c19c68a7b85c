"""What became of one case: whether tuned did worse than base on it, and the words for that.

Only metrics that a gate rests on say so: they are what the suite's author cares about. A metric of
time says nothing of a single case, which is mostly noise.
"""

from __future__ import annotations

from enum import StrEnum

from harness.manifest import BASE_AGAIN
from harness.records import CellKind
from harness.tracing.recorded import CaseRecord

_EPSILON = 1e-6
"""Differences below this are rounding."""


class Outcome(StrEnum):
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
        return "fail" if self in (Outcome.UNSCORED, Outcome.REGRESSED) else "pass"


def outcome(record: CaseRecord) -> Outcome:
    """Return how a case went."""
    gated = {gate.metric for gate in record.suite.gates}
    ranked = {
        metric.name: metric.higher_is_better
        for metric in record.suite.metrics
        if metric.name in gated and metric.needs is not CellKind.LATENCY
    }
    values = {(row.metric, row.arm): row.value for row in record.scores if row.metric in ranked}
    failed = any(c.status != "ok" and c.cell.arm != BASE_AGAIN for c in record.cells)
    if failed or None in values.values():
        return Outcome.UNSCORED
    changes = [
        (after - before) * (1 if higher else -1)
        for name, higher in ranked.items()
        if (before := values.get((name, "base"))) is not None
        and (after := values.get((name, "tuned"))) is not None
    ]
    if any(change < -_EPSILON for change in changes):
        return Outcome.REGRESSED
    improved = any(change > _EPSILON for change in changes)
    return Outcome.IMPROVED if improved else Outcome.UNCHANGED
