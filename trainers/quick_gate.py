"""Quick gate: suites on base and on a model in training, from the plan to paired deltas.

It is the gate's own pipeline without a run folder. Base is asked once: its answers are in the store
from then on, for every later evaluation and training.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

from tunegate.harness.checks import comparability, liveness
from tunegate.harness.comparison.delta import Delta
from tunegate.harness.comparison.score_table import ScoreTable, tables_of
from tunegate.harness.gate_kind import gate_kind
from tunegate.harness.model import Arm
from tunegate.harness.pipeline import STORE
from tunegate.harness.pipeline.steps import PlanOptions, RunPurpose, prepare
from tunegate.harness.records.manifest import Manifest, MetricRecord
from tunegate.harness.records.verdict import GateStatus, SuiteResult
from tunegate.harness.suite import Suite
from tunegate.trainers.checkpoint_ranking import CheckpointMetric, CheckpointSuite


def evaluate_checkpoint(
    suites: Sequence[Suite], arms: Mapping[str, Arm], *, number: int, asked: Sequence[str] = ()
) -> tuple[CheckpointSuite, ...]:
    """Ask both arms and compare them.

    Args:
        suites: The suites.
        arms: `base` and `tuned`.
        number: Which look of this training it is, from 1.
        asked: Arms that have answered all they can and need not be asked.

    Raises:
        NotComparable: the adapter changes nothing yet, or the arms get different prompts.
        BackendError: a model or the store failed.
        RunInterrupted: the user stopped it; finished answers are stored.
    """
    comparability.check_answerable(suites, arms)
    liveness.check_liveness(arms)
    with prepare(suites, arms, STORE, PlanOptions(purpose=RunPurpose.GATE)) as run:
        left = {name: arm for name, arm in run.arms.items() if name not in asked}
        run.answer(io.StringIO(), arms=left)
        scores = tuple(run.score(run.cells()))
    manifest = run.manifest("look")
    verdict = run.decide(run.with_scores(manifest, scores))
    forgotten = {r.name: found for r in verdict.suites if (found := _forgetting_sentences(r))}
    if forgotten and number > 1:
        # A training that is looked at often would otherwise be stopped by chance.
        strict = run.decide(run.with_scores(_at_look(manifest, number), scores))
        forgotten = {r.name: found for r in strict.suites if (found := _forgetting_sentences(r))}
    tables = tables_of(manifest, run.cases, scores, {})
    return tuple(
        CheckpointSuite(
            name=table.suite.name,
            hash=table.suite.hash,
            verdict=result.verdict,
            attempt=manifest.attempts[table.suite.hash],
            goal=ranking_metric(suite),
            metrics=tuple(_metrics(table)),
            forgotten=forgotten.get(suite.name, ()),
            broken=tuple(
                f"{gate.metric}::{gate.kind}"
                for gate in result.gates
                if gate.status is GateStatus.FAIL and not gate.advisory
            ),
        )
        for suite, table, result in zip(suites, tables, verdict.suites, strict=True)
    )


def ranking_metric(suite: Suite) -> str:
    """Return the metric by which checkpoints are ranked: what the suite wants to gain."""
    gains = [gate.metric for gate in suite.gates if gate_kind(gate.kind).is_goal]
    gated = [gate.metric for gate in suite.gates]
    return (*gains, *gated, *(m.name for m in suite.metrics if m.judge is None))[0]


def _at_look(manifest: Manifest, number: int) -> Manifest:
    """Return the manifest by which this look is judged at 1/k of the error."""
    suites = tuple(s.model_copy(update={"alpha_per_attempt": True}) for s in manifest.suites)
    attempts = {suite.hash: number for suite in suites}
    return manifest.model_copy(update={"suites": suites, "attempts": attempts})


def _metrics(table: ScoreTable) -> list[CheckpointMetric]:
    measured = [m for m in table.suite.metrics if m.judge is None]
    return [_metric(metric, Delta(table.pairs(metric))) for metric in measured]


def _metric(metric: MetricRecord, delta: Delta) -> CheckpointMetric:
    low, high = (delta.low, delta.high) if not delta.pairs.too_few else (math.nan, math.nan)
    return CheckpointMetric(
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


def _forgetting_sentences(result: SuiteResult) -> tuple[str, ...]:
    return tuple(
        gate.sentence
        for gate in result.gates
        if gate_kind(gate.kind).claims_loss(gate) and not gate.advisory
    )
