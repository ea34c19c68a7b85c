"""One run, from suites to a verdict: `_evaluate` is the main path and reads top to bottom.

Every file of the run folder is written as soon as its content is known, so that an interrupted run
can be resumed and a finished one can be read without a model.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.checks import (
    answerable,
    comparability,
    equal_answers,
    export_losses,
    liveness,
    prompt_lengths,
    recorded_answers,
)
from tunegate.harness.contracts.model import Arm, RecordedArm, ServerHosting
from tunegate.harness.decision.answer_facts.answer_key import AnswerKeyDetector
from tunegate.harness.decision.verdict.decide import ScoredRun, failed_verdict, not_comparable
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.interrupts import sigterm_interrupts
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
    UsageError,
    hide_credentials,
)
from tunegate.harness.records.files import read_record
from tunegate.harness.records.jsonl import FilteredRecords, JsonlRecords, read_records
from tunegate.harness.records.labels import LABELS_FILE, Label
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.code_execution import open_sandbox, stored_outcomes
from tunegate.harness.run.early_stopping import EarlyStopping, compared_whole
from tunegate.harness.run.folder_lock import FolderLock
from tunegate.harness.run.folder_writer import RunFolderWriter, run_cases
from tunegate.harness.run.notices import judging_costs, plan_notices, suite_notices
from tunegate.harness.run.options import RunOptions
from tunegate.harness.run.prepare import PlanOptions, RunPurpose, prepare_with
from tunegate.harness.run.prepared_run import AfterLook, PreparedRun, continue_all_suites
from tunegate.harness.run.run_state import RunState
from tunegate.harness.run.served_proof import ServedPrompts, prove_prompts, prove_served
from tunegate.harness.run.telemetry import write_telemetry
from tunegate.harness.run.training_provenance import TrainingProvenance
from tunegate.harness.suite import Suite
from tunegate.harness.telemetry.export.collector import send_files

if TYPE_CHECKING:
    from tunegate.harness.engine.sharding import WorkerPool


def evaluate(options: RunOptions, opened: dict[str, Arm] | None = None) -> VerdictRecord:
    """Judge the arms on the suites, write the run folder, and return the verdict.

    `opened` holds arms that are open already; an empty dict is filled for the session's next run.

    Raises:
        UsageError: the options ask for something impossible.
        RunInterrupted, BackendError: the user stopped it, or a model or the store failed; the
            folder holds the verdict ERROR, and `tunegate resume` asks only what is missing.
    """
    options.refuse_absent_references()
    folder = RunFolderWriter(options.folder)
    folder.refuse_unwritable()
    state = RunState(options, folder, options.suites, options.filtered)
    with (
        contextlib.closing(AnswerCache(options.store)) as store,
        stored_outcomes(store, options.output),
        warnings.catch_warnings(),
    ):
        # In a project that turns warnings into errors, do not raise those of our dependencies.
        warnings.simplefilter("ignore")
        try:
            with options.backend.workers() as workers:
                return _evaluate(state, {} if opened is None else opened, store, workers)
        except NotComparable as refusal:
            verdict = not_comparable(state.begin(), str(refusal))
            folder.write("verdict.json", verdict)
            return verdict
        except (BackendError, RunInterrupted) as error:
            with contextlib.suppress(BackendError):  # the disk may be full
                manifest = state.written or state.begin()
                folder.write("verdict.json", failed_verdict(manifest, str(error)))
            raise


def _evaluate(
    state: RunState, opened: dict[str, Arm], store: AnswerCache, workers: WorkerPool | None
) -> VerdictRecord:
    options, folder, say = state.options, state.folder, state.options.say
    say(*suite_notices(options))

    # open
    losses = _export_losses(state)
    arms = state.arms = _open(options, opened)
    suites = state.suites = _chosen_cases(state)

    # check
    state.sandbox = open_sandbox(options.sandbox, suites)
    comparability.check_answerable(suites, arms)
    recorded_answers.refuse_examples(arms)
    recorded_answers.refuse_foreign_ids(suites, arms)
    recorded_answers.refuse_further_samples(suites, arms)
    if stage.judge_metrics(suites):
        state.judge_models = open_judge_models(parse_specs(options.judge), store)
    state.liveness = liveness.check_liveness(
        arms, twins=options.self_check, allowed=options.allow_config_difference
    )
    exactly = partial(open_arms, dtype="float32", trusted=options.trust_remote_code)
    for name in losses.keys() & state.liveness.keys():
        state.liveness[name]["lost"] = [loss.sentence for loss in losses[name]]
    served = prove_served(arms, exactly, say)
    state.served_identity = served.record if served else {}
    state.training = _training(options, arms, suites)
    say(*state.training.lines())

    # plan
    stopping = _plan_looks(options, suites, arms, state.training.left_out(suites))
    state.looks = stopping.schedules
    run = state.run = prepare_with(store, suites, arms, _plan_options(state))
    prompts = _prove_prompts(state, run)
    manifest = state.begin()
    cases = run_cases(suites, run.plan, arms)
    folder.write_lines("cases.jsonl", cases, packed=manifest.packed)
    folder.write_images(case for suite in suites for case in suite.cases)
    say(*prompts.lines(), *plan_notices(run), *judging_costs(state, run.answering_arms))

    # answer
    after_look = stopping.watch(manifest, run.plan, store, suites)
    _answer(run, run.answering_arms, options, workers, after_look)
    whole = compared_whole(run.answering_arms)
    if whole and stopping.ended:
        _answer(run, whole, options, workers)
    if served is not None and served.folders:
        served.check(arms)  # once more, now that they have answered
        state.update(served_identity=served.record)
    answers = run.answers(skipped=stopping.skips(whole=whole))
    folder.write_lines("cells.jsonl", answers, packed=manifest.packed)
    _check_answers(state)

    # score, judge, decide, write
    scored = _score(state, run, stopping)
    verdict = run.decide(scored, read_records(folder.path / LABELS_FILE, Label))
    notes = write_telemetry(folder, scored, verdict, suites, options.telemetry.content)
    folder.write("verdict.json", verdict)
    notes += run.attempts.record(verdict, scored.scores, scored.cells)
    notes += send_files(folder.path)
    say(*notes)
    return verdict


def evaluate_once(
    options: RunOptions,
    opened: dict[str, Arm] | None = None,
    *,
    lock: contextlib.AbstractContextManager[FolderLock] | None = None,
    around: contextlib.AbstractContextManager[Any] | None = None,
) -> VerdictRecord:
    """Evaluate with the run folder locked; read the verdict if the session has made it already.

    `lock` is a lock that waits for other processes of the session; `around` is entered only to
    evaluate, not to read.

    Raises:
        UsageError: as `evaluate` does, or another run holds the folder.
        RunInterrupted, BackendError: as `evaluate` does, also where another process evaluated.
    """
    with lock or FolderLock(options.folder) as held, sigterm_interrupts():
        if held.error is not None:
            raise held.error
        if held.done:
            return read_record(options.folder / "verdict.json", VerdictRecord)
        with around or contextlib.nullcontext():
            return evaluate(options, opened)


def _export_losses(state: RunState) -> dict[str, tuple[export_losses.ExportLoss, ...]]:
    """Say what each model's files lack of base's, before anything is loaded; refuse what breaks."""
    options, allowed = state.options, state.options.allow_config_difference
    losses = export_losses.find_export_losses(options.specs, allowed=allowed)
    export_losses.refuse_broken_exports(losses, state.suites, allowed=allowed)
    options.say(*export_losses.loss_lines(losses))
    return losses


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


def _chosen_cases(state: RunState) -> tuple[Suite, ...]:
    """Return the suites; with `cases=shared` only with the cases that every arm has results for."""
    if state.options.cases != "shared":
        return tuple(state.suites)
    from tunegate.harness.checks.recorded_scores import shared_cases

    chosen = []
    for suite in state.suites:
        cases = shared_cases(suite, state.arms)
        if not cases:
            raise UsageError(
                f"{suite.name}: no case is in the results of every arm; run all of them on the "
                "same cases"
            )
        if left_out := len(suite.cases) - len(cases):
            which = f"{left_out} of {len(suite.cases)} cases of {suite.name}"
            state.filtered += (f"{which} are not in the results of every arm",)
        chosen.append(replace(suite, cases=cases))
    return tuple(chosen)


def _prove_prompts(state: RunState, run: PreparedRun) -> ServedPrompts:
    """Refuse arms that do not get the same whole prompts; record how that was proven."""
    allowed = state.options.allow_prompt_difference
    if not allowed:
        comparability.refuse_other_cuts(state.suites, state.arms)
        comparability.refuse_other_contexts(run.plan.requests.values(), state.arms)
    prompts = prove_prompts(run)
    state.served_prompts = prompts.record
    state.comparability = {**prompts.comparability(run), **_declarations(run)}
    prompts.refuse_different(allowed=allowed)
    return prompts


def _training(
    options: RunOptions, arms: Mapping[str, Arm], suites: tuple[Suite, ...]
) -> TrainingProvenance:
    """Read how tuned was trained, and compare its rows with the cases."""
    if options.self_check:  # base against itself was trained on nothing
        return TrainingProvenance()
    spec, identity = options.specs["tuned"], arms["tuned"].identity
    provenance = TrainingProvenance.of(spec, identity, suites, options.training_data)
    return provenance.as_typed(options.command)


def _plan_looks(
    options: RunOptions,
    suites: tuple[Suite, ...],
    arms: Mapping[str, Arm],
    left_out: Mapping[str, frozenset[str]],
) -> EarlyStopping:
    """Plan the interim looks of suites that may stop early."""
    stops = options.early_stop
    if stops is None:
        stops = not all(isinstance(arm, RecordedArm) for arm in arms.values())
    if not stops:
        return EarlyStopping()
    return EarlyStopping.of(suites, seed=options.seed, left_out=left_out)


def _plan_options(state: RunState) -> PlanOptions:
    options = state.options
    purpose = RunPurpose.DRAFT if options.draft else RunPurpose.GATE
    return PlanOptions(
        purpose=RunPurpose.AA_TEST if options.self_check else purpose,
        seed=options.seed,
        looks=state.looks,
        whole=not state.filtered,
    )


def _declarations(run: PreparedRun) -> dict[str, Any]:
    """Return what is not proven about the arms, but said by their files or by the user."""
    note = base_name_note(run.arms["tuned"])
    declared = comparability.declared_arms(run.suites, run.answering_arms)
    return {**({"base_name": note} if note else {}), **({"declared": declared} if declared else {})}


def _answer(
    run: PreparedRun,
    arms: Mapping[str, Arm],
    options: RunOptions,
    workers: WorkerPool | None,
    after_look: AfterLook = continue_all_suites,
) -> None:
    """Have the arms answer, in this process or in the workers."""

    def distribute(runner: Runner) -> Runner:
        if workers is None:
            return runner
        from tunegate.harness.engine.sharding import ShardedRunner, WorkerSetup

        setup = WorkerSetup(
            dict(options.specs),
            options.dtype,
            str(Path.cwd()),
            {name: arm.fingerprint for name, arm in run.arms.items()},
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


def _check_answers(state: RunState) -> None:
    """Refuse arms that only their answers show not to be comparable."""
    suites, arms = state.suites, state.arms
    stored = JsonlRecords(state.folder.path / "cells.jsonl", StoredAnswer)
    equal_answers.refuse_unequal_scores(suites, arms, stored)
    answerable.refuse_unusable_scores(suites, arms, stored)
    lengths = prompt_lengths.compare_prompt_lengths(arms, stored)
    if lengths:
        state.comparability = prompt_lengths.without_proof(state.comparability, lengths)
        state.update(comparability=state.comparability)
    if not state.options.allow_prompt_difference:
        prompt_lengths.refuse_other_lengths(lengths)


def _score(state: RunState, run: PreparedRun, stopping: EarlyStopping) -> ScoredRun:
    """Score and judge the answers in cells.jsonl, without holding all of them in memory."""
    options, folder, manifest = state.options, state.folder, state.manifest_written
    answers = JsonlRecords(folder.path / "cells.jsonl", StoredAnswer)
    answered = FilteredRecords(answers, lambda answer: answer.status != "skipped")
    key = AnswerKeyDetector(state.suites)
    scores = list(run.score(key.over(answered), scored=stopping.scores))
    missing = sum(answer.status == "missing" for answer in answers)
    if not missing:
        judged = stage.run_judges(state.suites, answered, state.judge_models, stream=options.output)
        if judged.judgements:
            folder.write_lines("judgements.jsonl", judged.judgements)
        scores += judged.rows
    folder.write_lines("scores.jsonl", scores, packed=manifest.packed)
    if missing:
        raise BackendError(f"{missing} of {len(answers)} answers never came")
    findings = *key.findings(), *instruction_findings(state.suites, answered)
    if findings:
        manifest = state.update(findings=findings)
    return run.with_scores(manifest, scores, cells=answered, looks=stopping.looks)
