"""An A/A run: what differs where nothing should, and whether a difference was claimed.

Both arms of an A/A run are base, or as good as base. How far their scores lie apart is the noise
floor; a goal that is reached or a regression that is proven is a false claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.manifest import GateKind, MetricRecord, SuiteRecord
from harness.records import CellKind
from harness.verdict.compare import Delta
from harness.verdict.decide import suite_verdict
from harness.verdict.pairs import mean
from harness.verdict.record import GateReason, GateResult, GateStatus, SuiteResult, Verdict
from harness.verdict.scores import Table


@dataclass(frozen=True)
class NoiseFloor:
    """How far one metric's scores lie apart in an A/A run."""

    metric: MetricRecord
    delta: Delta

    @property
    def flips(self) -> int | None:
        """Cases whose score changed; None where scores are not 0 or 1."""
        pairs = self.delta.pairs
        binary = self.metric.binary and pairs.binary
        return pairs.wins + pairs.losses if binary else None

    @property
    def size(self) -> float | None:
        """Mean |difference|, which for 0/1 scores is the share that flipped; None if unscored."""
        differences = self.delta.pairs.differences
        return mean([abs(d) for d in differences]) if differences else None


def noise_floors(table: Table) -> tuple[NoiseFloor, ...]:
    """Return the noise floor of every metric of a suite, gated or not."""
    return tuple(NoiseFloor(m, Delta(table.pairs(m))) for m in table.suite.metrics)


def false_claims(
    suite: SuiteRecord, result: SuiteResult, *, adapter: bool = False
) -> tuple[GateResult, ...]:
    """Return the gates that claimed a difference between the arms of an A/A run.

    Levels do not count: a floor that base itself is below says nothing about differences, and
    must not hide a goal that was reached beside it. Without a goal a suite ships what is no
    worse, which in an A/A run is right; only a regression is a false claim there.

    Args:
        suite: The suite.
        result: How its gates ended.
        adapter: Whether one arm has an adapter, whose computing takes time: then measured times
            differ in truth, and do not count.
    """
    timed = {m.name for m in suite.metrics if m.needs is CellKind.LATENCY} if adapter else set()
    return tuple(_claims(suite, result, timed))


def _claims(suite: SuiteRecord, result: SuiteResult, left_out: set[str]) -> Iterator[GateResult]:
    differences = [g for g in result.gates if not g.kind.is_level and g.metric not in left_out]
    losses = (GateReason.REGRESSED, GateReason.SEVERE_DROPS)
    yield from (g for g in differences if g.reason in losses and not g.advisory)
    if result.has_goal and suite_verdict(suite, differences) is Verdict.SHIP:
        goals = (g for g in differences if g.kind is GateKind.GAIN)
        yield from (g for g in goals if g.status is GateStatus.PASS)


def broken_levels(result: SuiteResult) -> tuple[GateResult, ...]:
    """Return the floors and ceilings that were not held: about the level, not the difference."""
    return tuple(g for g in result.gates if g.kind.is_level and g.status is GateStatus.FAIL)
