"""False claims of an A/A run, in which both arms are base or as good as base.

How far their scores differ is the noise floor; a goal that is reached or a regression that is
proven is a false claim.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.decision.verdict.decide import suite_results
from tunegate.harness.decision.verdict.decision_table import suite_verdict
from tunegate.harness.decision.verdict.interim_analysis import should_stop
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.manifest import LookSchedule, SuiteRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult, Verdict


def noise_floors(table: ScoreTable) -> tuple[NoiseFloor, ...]:
    """Return the noise floor of every metric of a suite, gated or not."""
    return tuple(NoiseFloor(table.pairs(m)) for m in table.suite.metrics)


def false_claims(
    suite: SuiteRecord, result: SuiteResult, *, adapter: bool = False
) -> tuple[GateResult, ...]:
    """Return the gates that claimed a difference between the arms of an A/A run.

    Floors and ceilings do not count: missing one says nothing about a difference between the arms.
    In a suite without a goal only a regression is a false claim, since SHIP is right if the arms
    are equal.
    """
    timed = {m.name for m in suite.metrics if m.needs is CellKind.LATENCY} if adapter else set()
    return tuple(_claims(suite, result, timed))


def _claims(suite: SuiteRecord, result: SuiteResult, left_out: set[str]) -> Iterator[GateResult]:
    differences = [
        g for g in result.gates if not gate_kind(g.kind).reads_level and g.metric not in left_out
    ]
    yield from (g for g in differences if gate_kind(g.kind).claims_loss(g) and not g.advisory)
    if result.has_goal and suite_verdict(suite, differences) is Verdict.SHIP:
        goals = (g for g in differences if gate_kind(g.kind).is_goal)
        yield from (g for g in goals if g.status is GateStatus.PASS)


def claims_at_looks(
    run: Run, looks: LookSchedule, *, adapter: bool = False
) -> tuple[InterimLook, tuple[GateResult, ...]]:
    """Return the look at which a gate run would have ended an A/A run, and its false claims there.

    The A/A run asks all cases; its looks see what they would have seen.
    """
    (suite,) = (s.model_copy(update={"looks": looks}) for s in run.manifest.suites)
    manifest = run.manifest.model_copy(update={"suites": (suite,)})
    cases, last = run.cases_of[suite.name], len(looks.sizes) - 1
    ended = next(
        (i for i in range(last) if should_stop(manifest, suite, cases, run.scores, i)), last
    )
    look = InterimLook(looks, ended)
    (result,) = suite_results(
        manifest, tables_of(manifest, {suite.name: cases}, run.scores, {suite.name: look})
    )
    return look, false_claims(suite, result, adapter=adapter)


def broken_levels(result: SuiteResult) -> tuple[GateResult, ...]:
    """Return the floors and ceilings that were not held: about the level, not the difference."""
    levels = (g for g in result.gates if gate_kind(g.kind).reads_level)
    return tuple(g for g in levels if g.status is GateStatus.FAIL)
