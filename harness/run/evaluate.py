"""One run, from suites to a verdict: `evaluate` is the main path and reads top to bottom.

Every file of the run folder is written as soon as its content is known, so that an interrupted run
can be resumed and a finished one can be read without a model.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.checks import comparability, liveness, recorded_answers
from tunegate.harness.contracts.further_arm import comparisons
from tunegate.harness.contracts.model import Arm, LocalArm, RecordedArm, ScoredArm, ServerHosting
from tunegate.harness.contracts.source import summarize_notes
from tunegate.harness.decision.answers.answer_key import KeyWatch
from tunegate.harness.decision.planning.advisory_gates import advisory_notes
from tunegate.harness.decision.verdict.decide import ScoredRun, failed_verdict, not_comparable
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.interrupts import sigterm_interrupts
from tunegate.harness.engine.plan import shared_limit_notices
from tunegate.harness.engine.runner import Runner
from tunegate.harness.judges.asking import stage
from tunegate.harness.judges.asking.instructions import instruction_findings
from tunegate.harness.judges.asking.specs import open_judge_models, parse_specs
from tunegate.harness.models.open_arms import base_name_note, open_arms
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.errors import (
    BackendError,
    NotComparable,
    RunInterrupted,
    TunegateError,
    UsageError,
    hide_credentials,
)
from tunegate.harness.records.files import read_record
from tunegate.harness.records.jsonl import FilteredRecords, JsonlRecords, read_records
from tunegate.harness.records.labels import LABELS_FILE, Label
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run import run_writer, steps
from tunegate.harness.run.early_stopping import EarlyStopping, compared_whole
from tunegate.harness.run.manifest_draft import ManifestDraft
from tunegate.harness.run.options import RunOptions
from tunegate.harness.run.run_lock import RunLock
from tunegate.harness.run.run_writer import RunFolder, run_cases
from tunegate.harness.run.steps import PlanOptions, PreparedRun, RunPurpose, prepare_with
from tunegate.harness.run.training_provenance import TrainingProvenance
from tunegate.harness.suite import Suite
from tunegate.harness.telemetry.export.run_records import RunRecords

if TYPE_CHECKING:
    from tunegate.harness.engine.sharding import WorkerPool


def evaluate(options: RunOptions, opened: dict[str, Arm] | None = None) -> VerdictRecord:
    """Judge the arms on the suites, write the run folder, and return the verdict.

    Args:
        options: What to do.
        opened: Arms that are open already; an empty dict is filled, so that a later run of the
            same session can use them again.

    Raises:
        UsageError: the options ask for something impossible.
        RunInterrupted: the user stopped the run; it can be resumed.
        BackendError: a backend or the store failed; the folder holds the verdict ERROR.
    """
    folder = RunFolder(options.folder)
    folder.refuse_unwritable()
    draft = ManifestDraft(options, folder, options.suites, options.filtered)
    with contextlib.closing(AnswerCache(options.store)) as store, warnings.catch_warnings():
        # A project that turns warnings into errors means its own, not our libraries'.
        warnings.simplefilter("ignore")
        try:
            with options.backend.workers() as workers:
                return _evaluate(draft, {} if opened is None else opened, store, workers)
        except NotComparable as refusal:
            verdict = not_comparable(draft.begin(), str(refusal))
            folder.write("verdict.json", verdict)
            return verdict
        except (BackendError, RunInterrupted) as error:
            _write_failure(draft, error)
            raise


def _evaluate(
    draft: ManifestDraft, opened: dict[str, Arm], store: AnswerCache, workers: WorkerPool | None
) -> VerdictRecord:
    """Open, check, plan, answer, score, judge, decide, write."""
    options, folder, say = draft.options, draft.folder, draft.options.say
    say(*_suite_notes(options))

    arms = draft.arms = _open(options, opened)
    suites = draft.suites = _chosen_cases(draft)

    comparability.check_answerable(suites, arms)
    recorded_answers.refuse_examples(arms)
    recorded_answers.refuse_further_samples(suites, arms)
    if stage.judge_metrics(suites):
        draft.judge_models = open_judge_models(parse_specs(options.judge), store)
    draft.liveness = liveness.check_liveness(arms, twins=options.self_check)
    exactly = partial(open_arms, dtype="float32", trusted=options.trust_remote_code)
    served = steps.prove_served(arms, exactly, say)
    draft.served_identity = served.record if served else {}
    draft.training = _training(options, arms, suites)
    say(*draft.training.lines())

    stopping = _plan_looks(options, suites, arms, draft.training.left_out(suites))
    draft.looks = stopping.schedules
    run = draft.run = prepare_with(store, suites, arms, _plan_options(draft))
    draft.comparability = {**run.comparability, **_base_name(arms["tuned"])}
    manifest = draft.begin()
    seen = not isinstance(arms["base"], RecordedArm)
    cases = run_cases(suites, run.plan, rendered=seen)
    folder.write_lines("cases.jsonl", cases, packed=manifest.packed)
    say(*_notices(run, suites, arms), run.plan.sentence(len(run.cached)), *_judging_costs(draft))

    look = stopping.watch(manifest, run.plan, store, suites)
    _answer(run, run.arms, options, workers, look)
    if (whole := compared_whole(run.arms)) and stopping.ended:
        _answer(run, whole, options, workers)
    if served is not None and served.folders:
        served.check(arms)  # once more, now that they have answered
        draft.update(served_identity=served.record)
    answers = run.cells(skipped=stopping.skips(whole=whole))
    folder.write_lines("cells.jsonl", answers, packed=manifest.packed)

    scored = _score(draft, run, stopping)
    verdict = run.decide(scored, read_records(folder.path / LABELS_FILE, Label))

    records = RunRecords(
        scored.manifest, scored.cells, verdict, prompts=run.plan.prompts, scores=scored.scores
    )
    say(*run_writer.write_telemetry(folder, records, suites, options.telemetry.content))
    folder.write("verdict.json", verdict)
    if run.ledger is not None:
        say(*run.ledger.record(verdict, scored.scores, run.extended))
    say(*run_writer.send_telemetry(folder))
    return verdict


def evaluate_once(
    options: RunOptions,
    opened: dict[str, Arm] | None = None,
    *,
    session: str,
    shared: bool = False,
    around: contextlib.AbstractContextManager[Any] | None = None,
) -> VerdictRecord:
    """Evaluate with the run folder locked; read the verdict where the session has it already.

    Args:
        options: What to do.
        opened: As for `evaluate`.
        session: Name of the session, the same in all its processes.
        shared: Whether other processes of the session may ask for the same run.
        around: A context for the evaluation alone, which reading does not need.

    Raises:
        UsageError: as `evaluate` does, or another run holds the folder.
        RunInterrupted: as `evaluate` does.
        BackendError: as `evaluate` does; also in the processes that waited for it.
    """
    with RunLock(options.folder, session=session, shared=shared) as lock, sigterm_interrupts():
        if lock.error is not None:
            raise lock.error
        if lock.done:
            return read_record(options.folder / "verdict.json", VerdictRecord)
        with around or contextlib.nullcontext():
            return evaluate(options, opened)


def _suite_notes(options: RunOptions) -> Iterator[str]:
    """Yield what the sources left out, and the gates that stay advisory in this run."""
    for suite in options.suites:
        yield from (f"{suite.name}: {note}" for note in summarize_notes(suite.notes))
    if options.self_check:  # no gate of base against itself is meant to count
        return
    opened = [arm for arm, spec in options.specs.items() if spec is not None]
    arms = [f"the {arm} arm" for arm in comparisons(opened)]
    for suite in options.suites:
        yield from (f"{suite.name}: {note}" for note in advisory_notes(suite, arms))


def _open(options: RunOptions, opened: dict[str, Arm]) -> dict[str, Arm]:
    """Open the arms, unless they are open already."""
    if not opened:
        specs = " and ".join(f"{name} {spec}" for name, spec in options.specs.items() if spec)
        options.say("opening " + hide_credentials(specs))
        opened |= open_arms(
            options.backend.served(options.specs),
            dtype=options.dtype,
            limits=options.limits,
            trusted=options.trust_remote_code,
            hosting=ServerHosting(options.folder, options.say),
        )
    return opened


def _chosen_cases(draft: ManifestDraft) -> tuple[Suite, ...]:
    """Return the suites; with `cases=shared` without the cases that an arm has no results of.

    Raises:
        UsageError: no case is left.
    """
    if draft.options.cases != "shared":
        return tuple(draft.suites)
    from tunegate.harness.checks.recorded_results import shared_cases

    chosen = []
    for suite in draft.suites:
        cases = shared_cases(suite, draft.arms)
        left = len(suite.cases) - len(cases)
        if not cases:
            raise UsageError(f"{suite.name}: no case is in the results of every arm")
        if left:
            which = f"{left} of {len(suite.cases)} cases of {suite.name}"
            draft.filtered += (f"{which} are not in the results of every arm",)
        chosen.append(replace(suite, cases=cases))
    return tuple(chosen)


def _training(
    options: RunOptions, arms: Mapping[str, Arm], suites: tuple[Suite, ...]
) -> TrainingProvenance:
    """Read how tuned was trained, and compare its rows with the cases."""
    if options.self_check:  # base against itself was trained on nothing
        return TrainingProvenance()
    spec, identity = options.specs["tuned"], arms["tuned"].identity
    found = TrainingProvenance.of(spec, identity, suites, options.training_data)
    return found.as_typed(options.command)


def _plan_looks(
    options: RunOptions,
    suites: tuple[Suite, ...],
    arms: Mapping[str, Arm],
    left_out: Mapping[str, frozenset[str]],
) -> EarlyStopping:
    """Plan the interim looks; none where a run is asked whole."""
    stops = options.early_stop
    if stops is None:
        stops = not all(isinstance(arm, RecordedArm) for arm in arms.values())
    if not stops:
        return EarlyStopping()
    return EarlyStopping.of(suites, seed=options.seed, left_out=left_out)


def _plan_options(draft: ManifestDraft) -> PlanOptions:
    options = draft.options
    purpose = RunPurpose.DRAFT if options.draft else RunPurpose.GATE
    return PlanOptions(
        purpose=RunPurpose.AA_TEST if options.self_check else purpose,
        seed=options.seed,
        looks=draft.looks,
        whole=not draft.filtered,
    )


def _base_name(tuned: Arm) -> dict[str, str]:
    note = base_name_note(tuned)
    return {"base_name": note} if note else {}


def _notices(run: PreparedRun, suites: tuple[Suite, ...], arms: Mapping[str, Arm]) -> Iterator[str]:
    """Yield what a user should know of recorded results, thoughts and slow local arms."""
    yield from shared_limit_notices(suites, run.plan.prompts, arms)
    scored = {name: arm for name, arm in arms.items() if isinstance(arm, ScoredArm)}
    for name, arm in scored.items():
        yield from (f"{name}: {note}" for note in arm.results.notes)
    if scored and (note := run.comparability.get("note")):
        yield f"comparability: {note}"
    if any(isinstance(arm, LocalArm) for arm in arms.values()):
        from tunegate.harness.engine.inference.fallbacks import fallback_notices

        yield from fallback_notices(arms)


def _judging_costs(draft: ManifestDraft) -> Iterator[str]:
    """Yield what judging will take, before the arms answer."""
    specs = [str(judge_model.identity["spec"]) for judge_model in draft.judge_models]
    if specs and draft.run is not None:
        from tunegate.harness.judges.asking import costs as forecast

        costs = forecast.forecast_judging(draft.suites, specs, tuple(draft.run.arms))
        yield from forecast.forecast_lines(costs)


def _answer(
    run: PreparedRun,
    arms: Mapping[str, Arm],
    options: RunOptions,
    workers: WorkerPool | None,
    after_look: steps.AfterLook = steps.end_no_suite,
) -> None:
    """Have the arms answer, here or by the workers."""

    def distribute(runner: Runner) -> Runner:
        if workers is None:
            return runner
        from tunegate.harness.engine.sharding import ShardedRunner, WorkerSetup

        setup = WorkerSetup(
            dict(options.specs),
            options.dtype,
            str(Path.cwd()),
            {name: arm.fingerprint for name, arm in run.opened.items()},
            options.trust_remote_code,
        )
        return ShardedRunner.of(runner, workers, setup)

    run.answer(
        options.output,
        arms=arms,
        optimizations=options.optimizations,
        after_look=after_look,
        distribute=distribute,
        logs=options.folder / "inspect",
    )


def _score(draft: ManifestDraft, run: PreparedRun, stopping: EarlyStopping) -> ScoredRun:
    """Score and judge the answers of cells.jsonl, which are never in memory as a whole.

    Raises:
        BackendError: an answer never came.
    """
    folder, manifest = draft.folder, draft.manifest_written
    cells = JsonlRecords(folder.path / "cells.jsonl", StoredAnswer)
    asked = FilteredRecords(cells, lambda c: c.status != "skipped")
    key = KeyWatch(draft.suites)
    scores = list(run.score(key.over(asked), known=stopping.scores))
    missing = sum(c.status == "missing" for c in cells)
    if not missing:
        scores += _judge(draft, asked)
    folder.write_lines("scores.jsonl", scores, packed=manifest.packed)
    if missing:
        raise BackendError(f"{missing} of {len(cells)} answers never came")
    findings = *key.findings(), *instruction_findings(draft.suites, asked)
    if findings:
        manifest = draft.update(findings=findings)
    return run.with_scores(manifest, scores, cells=asked, looks=stopping.looks)


def _judge(draft: ManifestDraft, asked: Iterable[StoredAnswer]) -> tuple[ScoreRow, ...]:
    """Have the judges judge; return their scores."""
    judged = stage.run_judges(draft.suites, asked, draft.judge_models, stream=draft.options.output)
    if judged.judgements:
        draft.folder.write_lines("judgements.jsonl", judged.judgements)
    return judged.rows


def _write_failure(draft: ManifestDraft, error: TunegateError) -> None:
    """Leave verdict.json as ERROR, as far as the disk allows."""
    with contextlib.suppress(BackendError):
        manifest = draft.written or draft.begin()
        draft.folder.write("verdict.json", failed_verdict(manifest, str(error)))
