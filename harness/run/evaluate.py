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
    comparability,
    equal_answers,
    liveness,
    prompt_lengths,
    rankings,
    recorded_answers,
)
from tunegate.harness.contracts.model import Arm, RecordedArm, ServerHosting
from tunegate.harness.decision.answers.answer_key import KeyWatch
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
    TunegateError,
    UsageError,
    hide_credentials,
)
from tunegate.harness.records.files import read_record
from tunegate.harness.records.jsonl import FilteredRecords, JsonlRecords, read_records
from tunegate.harness.records.labels import LABELS_FILE, Label
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.early_stopping import EarlyStopping, compared_whole
from tunegate.harness.run.folder_lock import FolderLock
from tunegate.harness.run.folder_writer import RunFolderWriter, run_cases
from tunegate.harness.run.manifest_draft import ManifestDraft
from tunegate.harness.run.notices import judging_costs, plan_notices, suite_notices
from tunegate.harness.run.options import RunOptions
from tunegate.harness.run.prepare import PlanOptions, RunPurpose, prepare_with
from tunegate.harness.run.prepared_run import AfterLook, PreparedRun, end_no_suite
from tunegate.harness.run.programs import open_sandbox, stored_outcomes
from tunegate.harness.run.served_proof import prove_prompts, prove_served
from tunegate.harness.run.telemetry import write_telemetry
from tunegate.harness.run.training_provenance import TrainingProvenance
from tunegate.harness.suite import Suite
from tunegate.harness.telemetry.export.collector import send_files

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
    folder = RunFolderWriter(options.folder)
    folder.refuse_unwritable()
    draft = ManifestDraft(options, folder, options.suites, options.filtered)
    with (
        contextlib.closing(AnswerCache(options.store)) as store,
        stored_outcomes(store, options.output),
        warnings.catch_warnings(),
    ):
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
    options, folder, say = draft.options, draft.folder, draft.options.say
    say(*suite_notices(options))

    # open
    arms = draft.arms = _open(options, opened)
    suites = draft.suites = _chosen_cases(draft)

    # check
    draft.sandbox = open_sandbox(options.sandbox, suites)
    comparability.check_answerable(suites, arms)
    recorded_answers.refuse_examples(arms)
    recorded_answers.refuse_foreign_ids(suites, arms)
    recorded_answers.refuse_further_samples(suites, arms)
    if stage.judge_metrics(suites):
        draft.judge_models = open_judge_models(parse_specs(options.judge), store)
    draft.liveness = liveness.check_liveness(arms, twins=options.self_check)
    exactly = partial(open_arms, dtype="float32", trusted=options.trust_remote_code)
    served = prove_served(arms, exactly, say)
    draft.served_identity = served.record if served else {}
    draft.training = _training(options, arms, suites)
    say(*draft.training.lines())

    # plan
    stopping = _plan_looks(options, suites, arms, draft.training.left_out(suites))
    draft.looks = stopping.schedules
    run = draft.run = prepare_with(store, suites, arms, _plan_options(draft))
    if not options.allow_prompt_difference:
        comparability.refuse_other_cuts(suites, arms)
        comparability.refuse_other_contexts(run.plan.requests.values(), arms)
    prompts = prove_prompts(run)
    draft.served_prompts = prompts.record
    draft.comparability = {**prompts.comparability(run), **_base_name(arms["tuned"])}
    prompts.refuse_different(allowed=options.allow_prompt_difference)
    manifest = draft.begin()
    cases = run_cases(suites, run.plan, arms)
    folder.write_lines("cases.jsonl", cases, packed=manifest.packed)
    folder.write_images(case for suite in suites for case in suite.cases)
    say(*prompts.lines(), *plan_notices(run), *judging_costs(draft, run.asked))

    # answer
    after_look = stopping.watch(manifest, run.plan, store, suites)
    _answer(run, run.asked, options, workers, after_look)
    whole = compared_whole(run.asked)
    if whole and stopping.ended:
        _answer(run, whole, options, workers)
    if served is not None and served.folders:
        served.check(arms)  # once more, now that they have answered
        draft.update(served_identity=served.record)
    answers = run.answers(skipped=stopping.skips(whole=whole))
    folder.write_lines("cells.jsonl", answers, packed=manifest.packed)
    _check_answers(draft)

    # score, judge, decide, write
    scored = _score(draft, run, stopping)
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

    Args:
        options: What to do.
        opened: As for `evaluate`.
        lock: The folder's lock, if others of the session use it as well.
        around: A context for the evaluation alone, which reading does not need.

    Raises:
        UsageError: as `evaluate` does, or another run holds the folder.
        RunInterrupted: as `evaluate` does.
        BackendError: as `evaluate` does; also in the processes that waited for it.
    """
    with lock or FolderLock(options.folder) as held, sigterm_interrupts():
        if held.error is not None:
            raise held.error
        if held.done:
            return read_record(options.folder / "verdict.json", VerdictRecord)
        with around or contextlib.nullcontext():
            return evaluate(options, opened)


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
    """Return the suites; with `cases=shared` only with the cases that every arm has results for.

    Raises:
        UsageError: no case is left.
    """
    if draft.options.cases != "shared":
        return tuple(draft.suites)
    from tunegate.harness.checks.recorded_results import shared_cases

    chosen = []
    for suite in draft.suites:
        cases = shared_cases(suite, draft.arms)
        if not cases:
            raise UsageError(f"{suite.name}: no case is in the results of every arm")
        if left_out := len(suite.cases) - len(cases):
            which = f"{left_out} of {len(suite.cases)} cases of {suite.name}"
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
    """Plan the interim looks of suites that may stop early."""
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


def _answer(
    run: PreparedRun,
    arms: Mapping[str, Arm],
    options: RunOptions,
    workers: WorkerPool | None,
    after_look: AfterLook = end_no_suite,
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


def _check_answers(draft: ManifestDraft) -> None:
    """Refuse arms that only their answers show not to be comparable.

    Raises:
        NotComparable: other rules of scoring, scores that rank nothing, or other prompts.
    """
    suites, arms = draft.suites, draft.arms
    stored = JsonlRecords(draft.folder.path / "cells.jsonl", StoredAnswer)
    equal_answers.refuse_unequal_scores(suites, arms, stored)
    rankings.refuse_unusable_scores(suites, arms, stored)
    lengths = prompt_lengths.compare_prompt_lengths(arms, stored)
    if lengths:
        draft.comparability = prompt_lengths.without_proof(draft.comparability, lengths)
        draft.update(comparability=draft.comparability)
    if not draft.options.allow_prompt_difference:
        prompt_lengths.refuse_other_lengths(lengths)


def _score(draft: ManifestDraft, run: PreparedRun, stopping: EarlyStopping) -> ScoredRun:
    """Score and judge the answers in cells.jsonl, without holding all of them in memory.

    Raises:
        BackendError: an answer never came.
    """
    options, folder, manifest = draft.options, draft.folder, draft.manifest_written
    answers = JsonlRecords(folder.path / "cells.jsonl", StoredAnswer)
    asked = FilteredRecords(answers, lambda answer: answer.status != "skipped")
    key = KeyWatch(draft.suites)
    scores = list(run.score(key.over(asked), known=stopping.scores))
    missing = sum(answer.status == "missing" for answer in answers)
    if not missing:
        judged = stage.run_judges(draft.suites, asked, draft.judge_models, stream=options.output)
        if judged.judgements:
            folder.write_lines("judgements.jsonl", judged.judgements)
        scores += judged.rows
    folder.write_lines("scores.jsonl", scores, packed=manifest.packed)
    if missing:
        raise BackendError(f"{missing} of {len(answers)} answers never came")
    findings = *key.findings(), *instruction_findings(draft.suites, asked)
    if findings:
        manifest = draft.update(findings=findings)
    return run.with_scores(manifest, scores, cells=asked, looks=stopping.looks)


def _write_failure(draft: ManifestDraft, error: TunegateError) -> None:
    """Write the verdict ERROR, if the disk allows."""
    with contextlib.suppress(BackendError):
        manifest = draft.written or draft.begin()
        draft.folder.write("verdict.json", failed_verdict(manifest, str(error)))
