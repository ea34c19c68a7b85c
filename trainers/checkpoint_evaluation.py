"""Checkpoint evaluation: suites run on a model in training.

It is the gate's own pipeline without a run folder. Base is asked once; every later evaluation and
training reads its answers from the store.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.checks import comparability, liveness
from tunegate.harness.comparison.delta import Delta
from tunegate.harness.contracts.further_arm import BASE_AGAIN
from tunegate.harness.contracts.model import Arm
from tunegate.harness.decision.gating.attempts import refuse_sealed
from tunegate.harness.decision.gating.decide_all import sample_name
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.models._model_folder import resolve_folder
from tunegate.harness.models.live import (
    SeparateBaseArm,
    adapter_of,
    base_apart,
    live_arm,
    live_model,
    live_whole,
)
from tunegate.harness.records.errors import (
    ModelError,
    OutOfMemory,
    RunInterrupted,
    TunegateError,
    UsageError,
    error_reason,
    error_summary,
)
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.manifest import Manifest, MetricRecord
from tunegate.harness.records.verdict import SuiteResult
from tunegate.harness.records.wording import count_noun
from tunegate.harness.run import STORE
from tunegate.harness.run.prepare import PlanOptions, RunPurpose, prepare
from tunegate.harness.suite import Suite, load_suite
from tunegate.trainers.checkpoint_ranking import Checkpoint, CheckpointMetric, CheckpointSuite
from tunegate.trainers.evaluation_mode import evaluation_mode


def load_gate_suites(paths: Sequence[str | Path], max_cases: int | None) -> tuple[Suite, ...]:
    """Load the suites of a callback."""
    loaded = (load_suite(Path(path), max_cases=max_cases) for path in paths)
    suites = tuple(suite.without_references() for suite in loaded)
    if not suites:
        raise UsageError("suites: none; name at least one folder with a suite.toml")
    names = [suite.name for suite in suites]
    if len(set(names)) < len(names):
        raise UsageError(f"suites: two have the same name among {names}; rename one")
    refuse_sealed(suites, opened=False)
    for suite in suites:
        judged = next((m.name for m in suite.gated_metrics if m.judge is not None), None)
        if judged is not None or all(m.judge is not None for m in suite.metrics):
            raise UsageError(
                f"{suite.path}: {judged or 'its only metric'} needs a judge, and none is asked "
                "during a training; give a suite whose gates are on other metrics"
            )
    return suites


def refuse_overlap(selecting: Suite, shipping: Path) -> None:
    """Refuse a selecting suite that shares cases with the one that decides shipping.

    The best of several checkpoints on a suite looks better there than it is.
    """
    theirs = load_suite(shipping)
    shared = _prompts(selecting) & _prompts(theirs)
    if shared:
        raise UsageError(
            f"{selecting.path}: {len(shared)} of its cases are in {theirs.path}, which decides "
            "shipping; select on other cases, or the kept checkpoint looks better than it is"
        )


def _prompts(suite: Suite) -> set[str]:
    system = suite.generation.system
    turns = ([dict(t) for t in case.input_messages(system)] for case in suite.cases)
    return {sha256(each) for each in turns}


@dataclass
class MonitoredTraining:
    """A model in training and the suites that are run on it."""

    model: Any
    tokenizer: Any
    suites: tuple[Suite, ...]
    folder: Path
    """Where the checkpoints are."""
    adapter: str | None
    base: Arm
    loaded: Any
    asked: tuple[str, ...] = ()
    """Arms that have answered everything."""

    @classmethod
    def of(
        cls, args: Any, model: Any, processor: Any, suites: tuple[Suite, ...], base: str | None
    ) -> MonitoredTraining:
        """Open both arms, before the first step."""
        _refuse_sharding(args)
        if getattr(model, "generation_config", None) is None:
            raise UsageError(
                f"GateCallback needs a model that writes answers, and {type(model).__name__} does "
                "not; gate the saved checkpoints with `tunegate gate` instead"
            )
        tokenizer = getattr(processor, "tokenizer", processor)
        if tokenizer is None:
            raise UsageError("the trainer has no tokenizer; give it as `processing_class`")
        adapter = adapter_of(model)
        with evaluation_mode(model):
            loaded = live_model(model, tokenizer, adapter=adapter)
            arm: Arm = live_arm(loaded, None) if adapter else _apart(base, loaded)
        for suite in suites:
            try:
                arm.prompt(suite.cases[0], suite.generation)
            except ValueError as error:
                raise UsageError(f"{suite.path}: {error}") from error
        return cls(model, tokenizer, suites, Path(args.output_dir), adapter, arm, loaded)

    @property
    def sentence(self) -> str:
        """The suites that are run, and base."""
        suites = " and ".join(
            f"{suite.name} ({count_noun(len(suite.cases), 'case')})" for suite in self.suites
        )
        base = str(self.base.identity["spec"])
        if self.adapter is not None:
            base = f"the model without its adapter {self.adapter!r}"
        return f"runs {suites} at every save; base is {base}"

    def evaluate(self, step: int, number: int) -> Checkpoint:
        """Judge the model as it is now; an error is recorded and costs this evaluation alone."""
        folder = f"checkpoint-{step}"
        try:
            with evaluation_mode(self.model):
                suites = evaluate_checkpoint(
                    self.suites, self._arms(), number=number, answered=self.asked
                )
        except RunInterrupted:
            raise
        except Exception as error:
            return Checkpoint(step=step, folder=folder, problem=_problem(error))
        if isinstance(self.base, SeparateBaseArm) and not self.asked:
            self.base.release()
            self.asked = ("base", BASE_AGAIN)
        return Checkpoint(step=step, folder=folder, suites=suites)

    def _arms(self) -> dict[str, Arm]:
        if self.adapter is None:  # all weights have changed, and with them the hash
            loaded = live_model(self.model, self.tokenizer, adapter=None)
            return {"base": self.base, "tuned": live_whole(loaded)}
        return {"base": self.base, "tuned": live_arm(self.loaded, self.adapter)}


def _refuse_sharding(args: Any) -> None:
    """Refuse trainings in which no process holds the whole model."""
    if getattr(args, "fsdp", None) or getattr(args, "deepspeed", None):
        raise UsageError(
            "GateCallback needs the whole model in the first process, and FSDP or DeepSpeed split "
            "it; gate the saved checkpoints with `tunegate gate` instead"
        )


def _apart(spec: str | None, live: Any) -> Arm:
    """Open base next to a full fine-tune."""
    name = spec or str(live.folder)
    try:
        return base_apart(resolve_folder(name), live)
    except ModelError as error:
        raise ModelError(
            f"{error}; this training has no adapter that could be switched off, so base is loaded "
            "separately: name the model it started from with GateCallback(…, base=FOLDER)"
        ) from error


def _problem(error: Exception) -> str:
    ours = isinstance(error, TunegateError | OutOfMemory)
    return error_reason(error) if ours else error_summary(error)


def evaluate_checkpoint(
    suites: Sequence[Suite], arms: Mapping[str, Arm], *, number: int, answered: Sequence[str] = ()
) -> tuple[CheckpointSuite, ...]:
    """Ask both arms and compare them."""
    comparability.check_answerable(suites, arms)
    liveness.check_liveness(arms)
    with prepare(suites, arms, STORE, PlanOptions(purpose=RunPurpose.GATE, whole=False)) as run:
        left = {name: arm for name, arm in run.answering_arms.items() if name not in answered}
        run.answer(io.StringIO(), arms=left)
        scores = tuple(run.score(run.answers()))
    manifest = run.manifest("look")
    verdict = run.decide(run.with_scores(manifest, scores))
    forgotten = {
        r.name: sentences for r in verdict.suites if (sentences := _forgetting_sentences(r))
    }
    if forgotten and number > 1:
        # A training that is evaluated often would otherwise be stopped by chance.
        strict = run.decide(run.with_scores(_with_strict_alpha(manifest, number), scores))
        forgotten = {
            r.name: sentences for r in strict.suites if (sentences := _forgetting_sentences(r))
        }
    run.attempts.record(verdict, scores)
    tables = tables_of(manifest, run.cases, scores, {})
    return tuple(
        CheckpointSuite(
            name=table.suite.name,
            hash=table.suite.hash,
            verdict=result.verdict,
            attempt=manifest.attempts[table.suite.hash],
            goal=ranking_name(suite),
            metrics=tuple(_metrics(table, suite)),
            forgotten=forgotten.get(suite.name, ()),
            broken=tuple(
                gate.id
                for gate in result.gates
                if gate.status is GateStatus.FAIL and not gate.advisory
            ),
        )
        for suite, table, result in zip(suites, tables, verdict.suites, strict=True)
    )


def ranking_metric(suite: Suite) -> str:
    """Return the metric that ranks checkpoints: that of the first gain, else the first one."""
    gains = [gate.metric for gate in suite.gates if gate_kind(gate.kind).is_goal]
    gated = [gate.metric for gate in suite.gates]
    return (*gains, *gated, *(m.name for m in suite.metrics if m.judge is None))[0]


def ranking_name(suite: Suite) -> str:
    """Return the name of the ranking metric: `m`, or `m[tag]` where the gain is on a tag."""
    name = ranking_metric(suite)
    goals = [gate for gate in suite.gates if gate_kind(gate.kind).is_goal]
    chosen = (*goals, *suite.gates)
    # A goal on every value of a tag key ranks by all cases.
    tag = chosen[0].tag if chosen and chosen[0].every is None else None
    return sample_name(name, tag)


def _with_strict_alpha(manifest: Manifest, number: int) -> Manifest:
    """Return the manifest that judges the k-th evaluation at 1/k of the error."""
    suites = tuple(s.model_copy(update={"alpha_per_attempt": True}) for s in manifest.suites)
    attempts = {suite.hash: number for suite in suites}
    return manifest.model_copy(update={"suites": suites, "attempts": attempts})


def _metrics(table: ScoreTable, suite: Suite) -> Iterator[CheckpointMetric]:
    """Yield the metrics on all cases, and the one that ranks checkpoints on those of its tag."""
    measured = {m.name: m for m in table.suite.metrics if m.judge is None}
    for metric in measured.values():
        yield _metric(metric, Delta(table.pairs(metric)))
    name, ranked = ranking_name(suite), measured.get(ranking_metric(suite))
    if ranked is not None and name != ranked.name:
        tag = name.removeprefix(f"{ranked.name}[").removesuffix("]")
        of_slice = Delta(table.on_tag(tag).pairs(ranked))
        yield _metric(ranked.model_copy(update={"name": name}), of_slice)


def _metric(metric: MetricRecord, delta: Delta) -> CheckpointMetric:
    low, high = (delta.low, delta.high) if not delta.pairs.too_few else (math.nan, math.nan)
    return CheckpointMetric(
        name=metric.name,
        higher_is_better=metric.higher_is_better,
        rate=metric.is_rate,
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
