"""Quick gate: suites on base and on a model in training, from the plan to paired deltas.

It is the gate's own engine, store and statistics; only the run folder is left out. Base is asked
once: its answers are in the store from then on, for every later look and training.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate.harness.checks import comparability, liveness
from tunegate.harness.comparison.delta import Delta
from tunegate.harness.comparison.score_table import Table, score_suite, tables_of
from tunegate.harness.engine.answer_cache import Store
from tunegate.harness.engine.plan import Plan, make_plan, with_base_again
from tunegate.harness.engine.progress import Progress
from tunegate.harness.engine.runner import Runner, collect
from tunegate.harness.model import Arm
from tunegate.harness.packaging import versions
from tunegate.harness.records.cases import ScoreRow
from tunegate.harness.records.manifest import GateKind, Manifest, MetricRecord
from tunegate.harness.records.verdict import GateReason, GateStatus, SuiteResult
from tunegate.harness.suite import Suite
from tunegate.harness.verdict.decide import decide
from tunegate.trainers.checkpoint_ranking import MetricLook, SuiteLook

STORE = Path(".tunegate/store.sqlite")
"""The project's answers, those of `tunegate gate` among them."""
_FORGOTTEN = (GateReason.REGRESSED, GateReason.SEVERE_DROPS)


@dataclass(frozen=True)
class Scored:
    """The scores of a look, before anything is decided."""

    manifest: Manifest
    rows: tuple[ScoreRow, ...]


def look(
    suites: Sequence[Suite], arms: Mapping[str, Arm], *, number: int, asked: Sequence[str] = ()
) -> tuple[SuiteLook, ...]:
    """Ask both arms and compare them.

    Args:
        suites: The suites.
        arms: `base` and `tuned`.
        number: Which look of this training it is, from 1.
        asked: Arms that have answered all they can and need not be asked.

    Raises:
        NotComparable: the adapter changes nothing yet, or the arms get different prompts.
        BackendError: a model or the store failed.
        Interrupted: the user stopped it; finished answers are stored.
    """
    scored = _score(suites, arms, asked)
    cases = {suite.name: [s.case for s in suite.cases] for suite in suites}
    verdict = decide(scored.manifest, cases, scored.rows)
    forgotten = {r.name: found for r in verdict.suites if (found := _forgotten(r))}
    if forgotten and number > 1:
        # A training that is looked at often would otherwise be stopped by chance.
        strict = decide(_at_look(scored.manifest, number), cases, scored.rows)
        forgotten = {r.name: found for r in strict.suites if (found := _forgotten(r))}
    tables = tables_of(scored.manifest, cases, scored.rows, {})
    return tuple(
        SuiteLook(
            name=table.suite.name,
            hash=table.suite.hash,
            verdict=result.verdict,
            attempt=scored.manifest.attempts[table.suite.hash],
            goal=goal(suite),
            metrics=tuple(_metrics(table)),
            forgotten=forgotten.get(suite.name, ()),
            broken=tuple(
                f"{gate.metric}::{gate.kind.value}"
                for gate in result.gates
                if gate.status is GateStatus.FAIL and not gate.advisory
            ),
        )
        for suite, table, result in zip(suites, tables, verdict.suites, strict=True)
    )


def goal(suite: Suite) -> str:
    """Return the metric by which checkpoints are ranked: what the suite wants to gain."""
    gains = [gate.metric for gate in suite.gates if gate.kind is GateKind.GAIN]
    gated = [gate.metric for gate in suite.gates]
    return (*gains, *gated, *(m.name for m in suite.metrics if m.judge is None))[0]


def _score(suites: Sequence[Suite], arms: Mapping[str, Arm], asked: Sequence[str]) -> Scored:
    comparability.check_answerable(suites, arms)
    alive = liveness.check(arms)
    store = Store(STORE.absolute())
    try:
        every = with_base_again(arms)
        tuned = arms["tuned"].fingerprint
        before = store.judged_before(suites, tuned)
        plan = make_plan(suites, every, seed=0, before=before)
        comparable = comparability.check(plan.prompts, arms)
        attempts = store.attempts([s.hash for s in suites], tuned)
        left = {name: arm for name, arm in every.items() if name not in asked}
        Runner(plan, left, store, Progress(1.0, stream=io.StringIO())).run()
        cells = list(collect(plan, store, set()))
    finally:
        store.close()
    rows = [row for suite in suites for row in score_suite(suite, cells, tuple(every))]
    manifest = _manifest(suites, arms, plan, attempts)
    proven = manifest.model_copy(update={"comparability": comparable, "liveness": alive})
    return Scored(proven, tuple(rows))


def _manifest(
    suites: Sequence[Suite], arms: Mapping[str, Arm], plan: Plan, attempts: dict[str, int]
) -> Manifest:
    return Manifest(
        run_id="look",
        created="",
        command=(),
        arms={name: dict(arm.identity) for name, arm in arms.items()},
        suites=tuple(suite.record() for suite in suites),
        plan=plan.cells,
        seed=0,
        versions=versions(),
        comparability={},
        liveness={},
        attempts=attempts,
    )


def _at_look(manifest: Manifest, number: int) -> Manifest:
    """Return the manifest by which this look is judged at 1/k of the error."""
    suites = tuple(s.model_copy(update={"alpha_per_attempt": True}) for s in manifest.suites)
    attempts = {suite.hash: number for suite in suites}
    return manifest.model_copy(update={"suites": suites, "attempts": attempts})


def _metrics(table: Table) -> list[MetricLook]:
    measured = [m for m in table.suite.metrics if m.judge is None]
    return [_metric(metric, Delta(table.pairs(metric))) for metric in measured]


def _metric(metric: MetricRecord, delta: Delta) -> MetricLook:
    low, high = (delta.low, delta.high) if not delta.pairs.too_few else (math.nan, math.nan)
    return MetricLook(
        name=metric.name,
        higher_is_better=metric.higher_is_better,
        base=_finite(delta.base),
        tuned=_finite(delta.tuned),
        delta=_finite(delta.estimate),
        low=_finite(low),
        high=_finite(high),
        n=delta.n,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _forgotten(result: SuiteResult) -> tuple[str, ...]:
    return tuple(
        gate.sentence for gate in result.gates if gate.reason in _FORGOTTEN and not gate.advisory
    )
