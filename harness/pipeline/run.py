"""Gate run: suites and model specs in, run folder and verdict out.

It carries out the steps of `tunegate.harness.pipeline.steps` with all that a gate adds: judges,
early stopping, training provenance and files. Each file of the run folder is written as soon as it
is known, so that an interrupted run can be resumed and a finished one can be read without a model.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO

from tunegate.harness.checks import comparability, liveness, recorded_answers
from tunegate.harness.comparison.answer_key import KeyWatch
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.interrupts import sigterm_interrupts
from tunegate.harness.engine.plan import shared_limit_notices
from tunegate.harness.engine.runner import Runner
from tunegate.harness.engine.scheduling import ALL, Optimizations
from tunegate.harness.errors import (
    BackendError,
    NotComparable,
    RunInterrupted,
    TunegateError,
    UsageError,
    hide_credentials,
)
from tunegate.harness.further_arm import comparisons
from tunegate.harness.gating.error_control import refuse_draft, refuse_sealed
from tunegate.harness.judging import stage
from tunegate.harness.judging.contract import Juror
from tunegate.harness.judging.instructions import instruction_findings
from tunegate.harness.model import Arm, LocalArm, PoolLimits, RecordedArm, ScoredArm, ServerHosting
from tunegate.harness.models.open_arms import backend_of, base_name_note, open_arms
from tunegate.harness.otel_export.run_records import RunRecords
from tunegate.harness.pipeline import attempt_ledger, run_writer, steps
from tunegate.harness.pipeline.early_stopping import EarlyStopping, compared_whole
from tunegate.harness.pipeline.run_lock import RunLock
from tunegate.harness.pipeline.run_writer import RunFolder, run_cases
from tunegate.harness.pipeline.steps import PlanOptions, PreparedRun, RunPurpose, prepare_with
from tunegate.harness.pipeline.training_provenance import DataOptions, TrainingProvenance
from tunegate.harness.power.feasibility import advisory_notes, unreachable_gates
from tunegate.harness.records import judges
from tunegate.harness.records.cases import ScoreRow, StoredAnswer
from tunegate.harness.records.files import FilteredRecords, JsonlRecords, read_record, read_records
from tunegate.harness.records.judges import Calibration
from tunegate.harness.records.manifest import (
    LookSchedule,
    Manifest,
    SuiteRecord,
    package_versions,
    typed_options,
)
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.source import account_summary
from tunegate.harness.suite import Suite
from tunegate.harness.verdict.decide import failed_verdict, not_comparable

if TYPE_CHECKING:
    from tunegate.harness.engine.sharding import WorkerPool
    from tunegate.harness.model_servers.identity import ServedIdentity

LOCAL, RAY, VLLM = "local", "ray", "vllm"


@dataclass(frozen=True, slots=True)
class ExecutionBackend:
    """A choice of engine and of how many workers it has."""

    engine: str = LOCAL
    workers: int | None = None

    def refuse_impossible(self) -> None:
        """Refuse what can be seen to be impossible before anything is opened.

        Raises:
            UsageError: workers without an engine that has any.
            MissingExtra: the engine is not installed.
        """
        if self.engine == RAY:
            from tunegate.harness.engine.ray_backend import refuse_missing

            refuse_missing()
        elif self.workers is not None:
            raise UsageError("--gate-workers are Ray's processes: add --gate-engine ray")

    def served(self, specs: Mapping[str, str | None]) -> Mapping[str, str | None]:
        """Return the specs as they are opened: with vLLM, folders and hub ids are served by it."""
        if self.engine != VLLM:
            return specs
        return {n: f"{VLLM}:{s}" if s and backend_of(s) is None else s for n, s in specs.items()}

    @contextlib.contextmanager
    def crew(self) -> Iterator[WorkerPool | None]:
        """Yield the workers, ready to answer; None for this process."""
        if self.engine != RAY:
            yield None
            return
        from tunegate.harness.engine.ray_backend import ray_crew

        with ray_crew(self.workers) as crew:
            yield crew


HERE = ExecutionBackend()
"""This process."""


@dataclass
class EvaluationRun:
    """Everything one run needs; `run()` carries it out."""

    suites: Sequence[Suite]
    specs: Mapping[str, str | None]
    """Arm → model spec."""
    folder: Path
    store_path: Path
    stream: TextIO
    seed: int = 0
    dtype: str = "auto"
    trust_remote_code: bool = False
    """Whether code in a model's folder may be run, of every arm."""
    judge: str | None = None
    """Specs of the judge models, separated by commas; `none` for no judge."""
    calibration: str | None = None
    """Files of what is known of the judge, separated by commas."""
    command: tuple[str, ...] = ()
    filtered: tuple[str, ...] = ()
    cases: str = "all"
    """`shared` leaves out cases that an arm with results of another tool lacks."""
    open_sealed: bool = False
    """Whether sealed suites may be judged."""
    early_stop: bool | None = None
    """Whether a suite may end as soon as everything is decided; None: unless every arm is recorded,
    where looking costs power and saves no answer."""
    traced: run_writer.TelemetryOptions = field(default_factory=run_writer.TelemetryOptions)
    """Options of tracing, and the address of its viewer."""
    levers: Optimizations = ALL
    """Which of the engine's levers are on."""
    place: ExecutionBackend = HERE
    """Where completions are computed."""
    limits: PoolLimits = field(default_factory=PoolLimits)
    """How hard arms behind a network may be asked."""
    arms: dict[str, Arm] = field(default_factory=dict)
    """Arms opened by an earlier evaluation of the same session."""
    data: DataOptions = field(default_factory=DataOptions)
    """The user's description of the rows that tuned was trained on."""
    self_check: bool = False
    """An A/A run: the arms may have identical weights, and no attempt is counted."""
    draft: bool = False
    """Whether the suites are still being written: no attempt is counted, and nothing ships."""
    jurors: tuple[Juror, ...] = ()
    """The judges, once they are opened."""
    known: dict[Path, Calibration] = field(default_factory=dict)
    """The calibrations, once they are read."""
    trained: TrainingProvenance = field(default_factory=TrainingProvenance)
    """How tuned was trained, once its card was read."""
    manifest: Manifest | None = None
    """Facts about the run after the arms were found to be comparable."""

    @property
    def _folder(self) -> RunFolder:
        return RunFolder(self.folder)

    def refuse_impossible(self) -> None:
        """Refuse what can be seen to be impossible before anything is touched.

        Raises:
            UsageError: every problem, one per line.
        """
        self.place.refuse_impossible()
        partly = self.filtered or self.draft
        problems = [] if partly else [p for s in self.suites for p in unreachable_gates(s)]
        refuse_sealed(self.suites, opened=self.open_sealed)
        if self.draft:
            refuse_draft(self.suites)
        for plan in filter(None, (suite.episode for suite in self.suites)):
            plan.refuse_missing_inspect()
        if not self.self_check:
            attempt_ledger.refuse_broken(self.suites)
        stage.refuse_unjudged(self.suites, self.judge)
        if self.calibration:
            from tunegate.harness.judging.calibration_report import read_all

            self.known = read_all(self.calibration)
        said = self.folder / judges.FILE_NAME
        labels = read_records(said, judges.Label)
        judges.refuse_one_arm(said, labels)
        judges.refuse_judges_labels(said, labels, stage.specs_of(self.judge))
        if problems:
            raise UsageError("\n".join(problems))
        names = [s.name for s in self.suites]
        if (twice := next((n for n in names if names.count(n) > 1), None)) is not None:
            raise UsageError(f"two suites are called {twice!r}; give one of them another name")

    def run_alone(
        self,
        session: str,
        *,
        shared: bool = False,
        around: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> VerdictRecord:
        """Carry the run out with its folder locked; read it where the session has made it already.

        Args:
            session: Name of the session, the same in all its processes.
            shared: Whether other processes of the session may ask for the same run.
            around: Makes a context for the work alone, which reading does not need.

        Raises:
            UsageError: as `run` does, or another run holds the folder.
            RunInterrupted: as `run` does.
            BackendError: as `run` does; also in the processes that waited for it.
        """
        with RunLock(self.folder, session=session, shared=shared) as lock, sigterm_interrupts():
            if lock.error is not None:
                raise lock.error
            if lock.done:
                return read_record(self.folder / "verdict.json", VerdictRecord)
            with around():
                return self.run()

    def run(self) -> VerdictRecord:
        """Carry the run out and write its folder.

        Raises:
            UsageError: something was asked that cannot be done.
            RunInterrupted: the user stopped it; it can be resumed.
            BackendError: a backend or the store failed; the verdict is ERROR.
        """
        self._folder.refuse_unwritable()
        store = AnswerCache(self.store_path)
        try:
            with warnings.catch_warnings():
                # A project that turns warnings into errors means its own, not our libraries'.
                warnings.simplefilter("ignore")
                with self.place.crew() as crew:
                    return self._compared(store, crew)
        except NotComparable as refusal:
            verdict = not_comparable(self._begin(self._manifest()), str(refusal))
            self._folder.write("verdict.json", verdict)
            return verdict
        except (BackendError, RunInterrupted) as error:
            self._broken_off(error)
            raise
        finally:
            store.close()

    def _compared(self, store: AnswerCache, crew: WorkerPool | None) -> VerdictRecord:
        self._say(
            *(f"{s.name}: {told}" for s in self.suites for told in account_summary(s.account)),
            *self._advisory_notes(),
        )
        if not self.arms:
            self._open()
        if self.cases == "shared":
            self._keep_shared_cases()
        comparability.check_answerable(self.suites, self.arms)
        recorded_answers.refuse_examples(self.arms)
        recorded_answers.refuse_further_samples(self.suites, self.arms)
        if stage.judge_metrics(self.suites):
            self.jurors = stage.open_jurors(stage.specs_of(self.judge), store)
        alive = liveness.check_liveness(self.arms, twins=self.self_check)
        exactly = partial(open_arms, dtype="float32", trusted=self.trust_remote_code)
        served = steps.prove_served(self.arms, exactly, self._say)
        left_out = self._look_back()
        watching = EarlyStopping()
        if self._stops_early:
            watching = EarlyStopping.of(self.suites, seed=self.seed, left_out=left_out)
        counted = RunPurpose.DRAFT if self.draft else RunPurpose.GATE
        purpose = RunPurpose.AA_TEST if self.self_check else counted
        options = PlanOptions(
            purpose=purpose,
            seed=self.seed,
            looks=watching.schedules,
            whole=not self.filtered,
        )
        run = prepare_with(store, self.suites, self.arms, options)
        named = base_name_note(self.arms["tuned"])
        found = {
            "comparability": {**run.comparability, **({"base_name": named} if named else {})},
            "liveness": alive,
            "served_identity": served.record if served else {},
            "attempts": run.attempts,
            "ledger": run.ledger_states(self.folder.parent),
        }
        made = self._manifest(options.looks, run.extended, plan=run.plan.cells, **found)
        manifest = self._begin(made)
        seen = not isinstance(self.arms["base"], RecordedArm)
        cases = run_cases(self.suites, run.plan, rendered=seen)
        self._folder.write_lines("cases.jsonl", cases, packed=manifest.packed)
        said = run.plan.sentence(len(run.cached))
        self._say(*self._notices(run), said, *self._judging_costs(run))
        self._answer(run, run.arms, crew, watching.watch(manifest, run.plan, store, self.suites))
        if (whole := compared_whole(run.arms)) and watching.ended:
            self._answer(run, whole, crew)
        manifest = self._with_proof(manifest, served)
        cells = run.cells(skipped=watching.skips(whole=whole))
        self._folder.write_lines("cells.jsonl", cells, packed=manifest.packed)
        return self._decided(run, manifest, watching)

    def _with_proof(self, manifest: Manifest, served: ServedIdentity | None) -> Manifest:
        """Prove the served arms once more, now that they have answered, and record it."""
        if served is not None and served.folders:
            served.check(self.arms)
            manifest = manifest.model_copy(update={"served_identity": served.record})
            self._folder.write("manifest.json", manifest)
        return manifest

    def _open(self) -> None:
        arms = " and ".join(f"{n} {s}" for n, s in self.specs.items() if s)
        self._say("opening " + hide_credentials(arms))
        self.arms |= open_arms(
            self.place.served(self.specs),
            dtype=self.dtype,
            limits=self.limits,
            trusted=self.trust_remote_code,
            hosting=ServerHosting(self.folder, self._say),
        )

    def _advisory_notes(self) -> Iterator[str]:
        """Yield the gates that stay advisory in this run, before anything is spent."""
        if self.self_check:  # no gate of base against itself is meant to count
            return
        opened = [arm for arm, spec in self.specs.items() if spec is not None]
        arms = [f"the {arm} arm" for arm in comparisons(opened)]
        for suite in self.suites:
            yield from (f"{suite.name}: {note}" for note in advisory_notes(suite, arms))

    def _keep_shared_cases(self) -> None:
        """Leave out the cases that an arm has no results of, and note how many.

        Raises:
            UsageError: none is left.
        """
        from tunegate.harness.checks.recorded_results import shared_cases

        kept = []
        for suite in self.suites:
            cases = shared_cases(suite, self.arms)
            left = len(suite.cases) - len(cases)
            if not cases:
                raise UsageError(f"{suite.name}: no case is in the results of every arm")
            if left:
                which = f"{left} of {len(suite.cases)} cases of {suite.name}"
                self.filtered += (f"{which} are not in the results of every arm",)
            kept.append(replace(suite, cases=cases))
        self.suites = tuple(kept)

    @property
    def _stops_early(self) -> bool:
        if self.early_stop is not None:
            return self.early_stop
        return not all(isinstance(arm, RecordedArm) for arm in self.arms.values())

    def _notices(self, run: PreparedRun) -> Iterable[str]:
        """Return what a user should know of recorded results, thoughts and slow local arms."""
        yield from shared_limit_notices(self.suites, run.plan.prompts, self.arms)
        for name, arm in self.arms.items():
            if isinstance(arm, ScoredArm):
                yield from (f"{name}: {note}" for note in arm.results.notes)
        if any(isinstance(arm, ScoredArm) for arm in self.arms.values()):
            note = run.comparability.get("note")
            yield from [f"comparability: {note}"] if note else []
        if not any(isinstance(arm, LocalArm) for arm in self.arms.values()):
            return
        from tunegate.harness.engine.inference.fallbacks import fallback_notices

        yield from fallback_notices(self.arms)

    def _answer(
        self,
        run: PreparedRun,
        arms: Mapping[str, Arm],
        crew: WorkerPool | None,
        decided: Callable[[int], Iterable[str]] = lambda stage: (),
    ) -> None:
        """Have the arms answer, here or by the crew."""

        def distribute(runner: Runner) -> Runner:
            if crew is None:
                return runner
            from tunegate.harness.engine.sharding import ShardedRunner, WorkerSetup

            prints = {name: arm.fingerprint for name, arm in self.arms.items()}
            opening = WorkerSetup(
                dict(self.specs), self.dtype, str(Path.cwd()), prints, self.trust_remote_code
            )
            return ShardedRunner.of(runner, crew, opening)

        logs, levers = self.folder / "inspect", self.levers
        run.answer(
            self.stream, arms=arms, levers=levers, decided=decided, distribute=distribute, logs=logs
        )

    def _look_back(self) -> Mapping[str, frozenset[str]]:
        """Return suite → cases that tuned was trained on, which its gates leave out.

        Raises:
            NotComparable: they are too many.
        """
        if not self.self_check:  # base against itself was trained on nothing
            tuned = self.arms["tuned"].identity
            found = TrainingProvenance.of(self.specs["tuned"], tuned, self.suites, self.data)
            self.trained = found.as_typed(self.command)
        self._say(*self.trained.lines())
        return self.trained.left_out(self.suites)

    def _begin(self, manifest: Manifest) -> Manifest:
        if not self.self_check:  # its folder is always the same, and nobody keeps its runs
            self._say(*self._folder.set_aside(manifest))
        self.manifest = self._folder.begin(manifest)
        return manifest

    def _broken_off(self, error: TunegateError) -> None:
        """Leave verdict.json as ERROR, as far as the disk allows."""
        with contextlib.suppress(BackendError):
            manifest = self.manifest or self._begin(self._manifest())
            self._folder.write("verdict.json", failed_verdict(manifest, str(error)))

    def _decided(
        self, run: PreparedRun, manifest: Manifest, watching: EarlyStopping
    ) -> VerdictRecord:
        """Judge the answers of cells.jsonl, which are never in memory as a whole."""
        cells = JsonlRecords(self.folder / "cells.jsonl", StoredAnswer)
        asked = FilteredRecords(cells, lambda c: c.status != "skipped")
        key = KeyWatch(self.suites)
        scores = list(run.score(key.over(asked), known=watching.scores))
        missing = sum(c.status == "missing" for c in cells)
        if missing:
            self._folder.write_lines("scores.jsonl", scores, packed=manifest.packed)
            raise BackendError(f"{missing} of {len(cells)} answers never came")
        scores += self._judged(asked)
        self._folder.write_lines("scores.jsonl", scores, packed=manifest.packed)
        findings = *key.findings(), *instruction_findings(self.suites, asked)
        if findings:
            manifest = manifest.model_copy(update={"findings": findings})
            self._folder.write("manifest.json", manifest)
        scored = run.with_scores(manifest, scores, cells=asked, looks=watching.looks)
        labels = read_records(self.folder / judges.FILE_NAME, judges.Label)
        verdict = run.decide(scored, labels)
        recorded = RunRecords(manifest, asked, verdict, prompts=run.plan.prompts, scores=scores)
        self._say(
            *run_writer.write_telemetry(self._folder, recorded, self.suites, self.traced.content)
        )
        self._folder.write("verdict.json", verdict)
        if run.ledger is not None:
            self._say(*run.ledger.record(verdict, scores, run.extended))
        self._say(*run_writer.send_telemetry(self._folder))
        return verdict

    def _judging_costs(self, run: PreparedRun) -> Iterator[str]:
        """Yield what judging will take, before the arms answer."""
        specs = [str(juror.identity["spec"]) for juror in self.jurors]
        if specs:
            from tunegate.harness.judging import forecast

            found = forecast.forecast_judging(self.suites, specs, tuple(run.arms))
            yield from forecast.forecast_lines(found)

    def _judged(self, asked: Iterable[StoredAnswer]) -> tuple[ScoreRow, ...]:
        """Have the judges judge; return their scores."""
        judged = stage.run_judges(self.suites, asked, self.jurors, stream=self.stream)
        if judged.judgements:
            self._folder.write_lines("judgements.jsonl", judged.judgements)
        return judged.rows

    def _manifest(
        self,
        looks: Mapping[str, LookSchedule] | None = None,
        extended: Mapping[str, int] = MappingProxyType({}),
        **found: Any,
    ) -> Manifest:
        """Return the manifest with what was found so far: plan, comparability and the like."""
        at = looks or {}
        known = {"plan": (), "comparability": {}, "liveness": {}, "attempts": {}} | found
        return Manifest(
            run_id=self.folder.name,
            created=self._folder.created(),
            command=self.command,
            arms={name: dict(arm.identity) for name, arm in self.arms.items()},
            suites=self._attach_calibrations(
                [
                    suite.record().model_copy(
                        update={
                            "looks": at.get(suite.name),
                            "extended": extended.get(suite.hash, 0),
                        }
                    )
                    for suite in self.suites
                ]
            ),
            seed=self.seed,
            versions=package_versions(),
            origin=run_writer.origin_facts(self.traced.link),
            judges=tuple(dict(juror.identity) for juror in self.jurors),
            filtered=self.filtered,
            draft=self.draft,
            training=self.trained.training,
            leakage=self.trained.leakage,
            **known,
        )

    def _attach_calibrations(self, suites: Sequence[SuiteRecord]) -> tuple[SuiteRecord, ...]:
        if not self.known:
            return tuple(suites)
        from tunegate.harness.judging.calibration_report import attach_calibrations

        return attach_calibrations(suites, self.known, self.jurors)

    def _say(self, *lines: str) -> None:
        told = (typed_options(line, self.command) for line in lines)
        self.stream.writelines(f"tunegate: {line}\n" for line in told)
        self.stream.flush()
