"""The pipeline as steps: prepare → answer → score → decide.

A caller may stop after any step, and passes its own options to each:

    with prepare(suites, arms, STORE) as run:
        run.answer(sys.stderr)
        cells = list(run.cells())
    scores = list(run.score(cells))
    verdict = run.decide(run.with_scores(run.manifest("look"), scores))

`tunegate.harness.run.evaluate` adds judges, early stopping and the run folder. Callers check
first whether the arms are different models that can answer (`tunegate.harness.checks`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO

from tunegate.harness.checks import comparability
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.contracts.further_arm import add_derived_arms, comparisons
from tunegate.harness.contracts.model import Arm, ScoredArm, ServedArm
from tunegate.harness.decision.answers.answer_counts import count_answers
from tunegate.harness.decision.score_table import score_suite
from tunegate.harness.decision.verdict.decide import ScoredRun, decide_run
from tunegate.harness.engine.answer_cache import AnswerCache, JudgedAttempt, SuiteVersion
from tunegate.harness.engine.plan import Plan, make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import PlayOutside, Runner, collect_answers
from tunegate.harness.engine.scheduling import ALL, Optimizations
from tunegate.harness.records.answers import Cell, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.labels import Label
from tunegate.harness.records.manifest import LedgerState, LookSchedule, Manifest, SuiteRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.attempt_ledger import AttemptLedger
from tunegate.harness.suite import Suite

if TYPE_CHECKING:
    from tunegate.harness.models.servers.identity import OpenArms, ServedIdentity

NONE: Mapping[str, Any] = MappingProxyType({})

AfterLook = Callable[[int], Iterable[str]]
"""Takes the number of an interim look; returns the suites that end with it."""


def end_no_suite(look: int) -> tuple[str, ...]:
    """Let every suite go on, as an `AfterLook`."""
    return ()


_PLAYED_AGAIN = 20
"""Tasks of a suite, about, whose episodes are repeated."""


class RunPurpose(StrEnum):
    """Purpose of the answers of a run."""

    ANSWERS = "answers"
    """They are looked at; nothing is decided about tuned."""
    AA_TEST = "A/A test"
    """Base is compared with itself: everything is done as for a gate, and no attempt is counted."""
    DRAFT = "draft"
    """Tuned is decided about while the suites are being written: no attempt is counted."""
    GATE = "gate"
    """Tuned is decided about: it counts as an attempt on the suites."""


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Selection of suites and arms."""

    purpose: RunPurpose = RunPurpose.ANSWERS
    seed: int = 0
    looks: Mapping[str, LookSchedule] = field(default_factory=dict)
    """Suite → its interim looks; suites that are asked whole are absent."""
    asked: Collection[str] | None = None
    """Arms that are asked; None is all that are open. Base may be open for comparison alone."""
    timed: bool = True
    """Whether latency is measured. Times are compared with base's, so base must be asked too."""
    whole: bool = True
    """Whether all cases and gates are judged, so that the run is an attempt on the suites."""


@dataclass(frozen=True)
class PreparedRun:
    """A run with planned requests, whose arms were found to get the same prompts."""

    suites: Sequence[Suite]
    opened: Mapping[str, Arm]
    """The arms that were opened, base among them."""
    arms: Mapping[str, Arm]
    """The arms that are asked: opened ones, and further ones made from them."""
    plan: Plan
    store: AnswerCache
    seed: int
    comparability: Mapping[str, Any]
    """Proofs about the prompts."""
    attempts: Mapping[str, int]
    """Suite hash → number of candidates judged on it so far; empty where none is counted."""
    extended: Mapping[str, int]
    """Suite hash → other cases or seeds that judged this candidate before, likewise."""
    ledger: AttemptLedger | None
    """Where the verdict is recorded; None where no attempt is counted."""

    @cached_property
    def cached(self) -> set[str]:
        """Keys of the answers that were stored before the run asked anything."""
        return self.store.answered(cell.key for cell in self.plan.cells)

    @property
    def cases(self) -> dict[str, tuple[Case, ...]]:
        """Suite → its cases."""
        return {suite.name: suite.cases for suite in self.suites}

    def answer(
        self,
        stream: TextIO,
        *,
        arms: Mapping[str, Arm] | None = None,
        optimizations: Optimizations = ALL,
        after_look: AfterLook = end_no_suite,
        distribute: Callable[[Runner], Runner] = lambda runner: runner,
        logs: Path | None = None,
    ) -> None:
        """Have the arms answer every request that has no stored answer.

        Args:
            stream: Where the progress is shown.
            arms: Those of the run's arms that are asked now; None is all.
            optimizations: Which optimizations of local inference are on.
            after_look: Is called after each interim look.
            distribute: Returns the runner that does the work, such as one with several processes.
            logs: Folder for the logs of other programs that play tasks; None keeps none.

        Raises:
            RunInterrupted: the user asked to stop; finished answers are stored.
            BackendError: a backend or the store failed; finished answers are stored.
        """
        _ = self.cached  # found out before the first new answer
        asked = self.arms if arms is None else arms
        progress = ProgressReporter(1.0, stream=stream)
        with self._outside(stream, logs) as outside:
            runner = Runner(
                self.plan,
                asked,
                self.store,
                progress,
                optimizations=optimizations,
                decided=after_look,
                outside=outside,
            )
            distribute(runner).run()

    @contextmanager
    def _outside(self, stream: TextIO, logs: Path | None) -> Iterator[PlayOutside | None]:
        """Yield what plays the tasks of Inspect; None where no suite has any."""
        played = (suite.episode for suite in self.suites if suite.episode is not None)
        if not any(one.settings.inspect for one in played):
            yield None
            return
        from tunegate.harness.serving.inspect_tasks.player import InspectPlayer

        def report(line: str) -> None:
            stream.write(f"tunegate: {line}\n")
            stream.flush()

        with ExitStack() as stack:
            folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            yield InspectPlayer(self.seed, folder, report).play

    def cells(
        self, *, skipped: Callable[[Cell], bool] = lambda cell: False
    ) -> Iterator[StoredAnswer]:
        """Yield every planned cell with its stored answer.

        Args:
            skipped: Whether a cell was left out because its suite was decided without it.
        """
        return collect_answers(self.plan, self.store, self.cached, skipped=skipped)

    def score(
        self, cells: Iterable[StoredAnswer], *, known: Mapping[str, Sequence[ScoreRow]] = NONE
    ) -> Iterator[ScoreRow]:
        """Yield the scores of all metrics that ask no judge.

        Args:
            cells: The answers, in the order of the plan.
            known: Suite → rows that were scored before.

        Raises:
            BackendError: a metric returned another score for the same answer, or an environment
                paid another reward for the same episode.
        """
        arms = tuple(dict.fromkeys(cell.arm for cell in self.plan.cells))
        suites = {suite.name: suite for suite in self.suites}
        for name, of_suite in groupby(cells, key=lambda stored: stored.cell.suite):
            suite, answers = suites[name], of_suite
            if suite.episode is not None and suite.episode.settings.deterministic:
                answers = self._play_again(suite, answers)
            yield from score_suite(suite, answers, arms, known=known.get(name, ()))

    def _play_again(self, suite: Suite, answers: Iterator[StoredAnswer]) -> Iterator[StoredAnswer]:
        """Return the answers of a suite, of whose episodes a sample is paid as before."""
        from tunegate.harness.episodes.null_policy import refuse_other_rewards

        cells = list(answers)
        stride = max(1, len(suite.cases) // _PLAYED_AGAIN)
        chosen = {case.id for case in suite.cases[::stride]}
        requests = {request.cell.key: request for request in self.plan.requests.values()}
        found = [
            (requests[stored.key], stored.completion.episode)
            for stored in cells
            if stored.cell.case in chosen and not stored.cell.sample and stored.key in requests
            if stored.completion is not None and stored.completion.episode is not None
        ]
        if found and suite.episode is not None:
            refuse_other_rewards(suite.name, suite.episode, found)
        return iter(cells)

    def manifest(self, run_id: str, suites: Iterable[SuiteRecord] | None = None) -> Manifest:
        """Return the manifest of a run that writes no folder, as far as a decision needs one.

        Args:
            run_id: A name for the run.
            suites: The suites as they are judged; None is as they are.
        """
        records = suites or [
            suite.record().model_copy(update={"extended": self.extended.get(suite.hash, 0)})
            for suite in self.suites
        ]
        return Manifest(
            run_id=run_id,
            created="",
            command=(),
            arms={name: dict(arm.identity) for name, arm in self.opened.items()},
            suites=tuple(records),
            plan=self.plan.cells,
            seed=self.seed,
            versions={},
            comparability=dict(self.comparability),
            liveness={},
            attempts=dict(self.attempts),
            ledger=self.ledger_states(),
        )

    def ledger_states(self, runs: Path | None = None) -> dict[str, LedgerState]:
        """Return suite → the notes of its verdict on the attempts ledger.

        Args:
            runs: Folder of earlier runs that the ledger must know.
        """
        if self.ledger is None:
            return {}
        return {suite.name: self.ledger.state(suite.name, runs) for suite in self.suites}

    def with_scores(
        self,
        manifest: Manifest,
        scores: Sequence[ScoreRow],
        *,
        cells: Iterable[StoredAnswer] = (),
        looks: Mapping[str, InterimLook] = NONE,
    ) -> ScoredRun:
        """Return the run with its scores, ready to be decided.

        Args:
            manifest: The run, with the suites' gates.
            scores: Every score.
            cells: The answers, read more than once; for the notes about them.
            looks: Suite → the interim look at which it is decided.
        """
        return ScoredRun(
            manifest=manifest,
            cases=self.cases,
            scores=scores,
            cells=cells,
            looks=looks,
            arms=self.opened,
            prompts=self.plan.prompts,
        )

    def decide(self, scored: ScoredRun, labels: Iterable[Label] = ()) -> VerdictRecord:
        """Return the verdict on base and tuned, after the comparisons of further arms.

        Args:
            scored: The run with its scores.
            labels: People's labels of the answers.
        """
        given = tuple(labels)
        if given:
            from tunegate.harness.decision.verdict.redecide import standing_labels

            given = standing_labels(given, scored.cells, scored.manifest.suites)
        verdict = decide_run(
            scored.manifest,
            scored.cases,
            scored.scores,
            looks=scored.looks,
            answers=count_answers(scored.cells, scored.cases),
            labels=given,
        )
        for name, comparison in comparisons(self.opened).items():
            verdict = verdict.after(name, comparison.compare(scored))
        return verdict


@contextmanager
def prepare(
    suites: Sequence[Suite],
    arms: Mapping[str, Arm],
    store: Path | None,
    options: PlanOptions = PlanOptions(),  # frozen
) -> Iterator[PreparedRun]:
    """Plan what the arms are asked, and open the store while they are.

    Args:
        suites: The suites.
        arms: The opened arms, base among them.
        store: File of stored answers; None keeps the answers until the end of the block.
        options: What is asked, of which arms.

    Yields:
        The prepared run; its store is closed after the block, when scores and verdict need none.

    Raises:
        NotComparable: the arms get different prompts.
        UsageError: an arm that is decided about cannot be shown any case of a suite.
        BackendError: the store cannot be used.
    """
    with ExitStack() as stack:
        if store is None:
            store = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "store.sqlite"
        opened = AnswerCache(store.absolute())
        stack.callback(opened.close)
        yield prepare_with(opened, suites, arms, options)


def prepare_with(
    store: AnswerCache, suites: Sequence[Suite], arms: Mapping[str, Arm], options: PlanOptions
) -> PreparedRun:
    """Plan as `prepare` does, with a store that is open already and stays so."""
    decides = options.purpose is not RunPurpose.ANSWERS
    asked = add_derived_arms(arms) if decides else arms
    before = store.judged_before(suites, arms["tuned"].fingerprint) if decides else {}
    plan = make_plan(suites, asked, seed=options.seed, looks=options.looks, before=before)
    if options.asked is not None:
        asked = {name: arm for name, arm in asked.items() if name in options.asked}
    if asked.keys() < arms.keys() or not options.timed:
        plan = plan.narrow(asked, timed=options.timed)
    if decides:
        comparability.check_prompts(plan.cells, plan.failures)
    proven = _compare_prompts(plan, arms, suites)
    ledger, found = None, {}
    if options.purpose is RunPurpose.GATE:
        tuned = arms["tuned"].fingerprint
        ledger = AttemptLedger.of(suites, tuned, options.seed, whole=options.whole)
        found = _count_attempts(store, ledger, suites)
    attempts = {name: attempt.number for name, attempt in found.items()}
    extended = {name: attempt.extended for name, attempt in found.items()}
    return PreparedRun(
        suites, arms, asked, plan, store, options.seed, proven, attempts, extended, ledger
    )


def prove_served(
    arms: Mapping[str, Arm], opened: OpenArms, report: Callable[[str], None]
) -> ServedIdentity | None:
    """Prove of every served arm that it is what is in its folder; None if no arm is served.

    Args:
        arms: The opened arms, base among them.
        opened: Opens folders with Transformers, in float32.
        report: Is given a line before the weights are read.

    Raises:
        NotComparable: an arm is not what its files are, with the cause.
        BackendError: the server does not answer.
    """
    if not any(isinstance(arm, ServedArm) for arm in arms.values()):
        return None
    from tunegate.harness.models._model_folder import models_on_cpu
    from tunegate.harness.models.servers.identity import ServedIdentity

    def exactly(specs: Mapping[str, str]) -> Mapping[str, Arm]:
        with models_on_cpu(needed=_served_here(arms)):
            return opened(specs)

    return ServedIdentity.prove(arms, exactly, report)


def _served_here(arms: Mapping[str, Arm]) -> bool:
    """Return whether a server of this machine has an arm: it may hold the memory of the GPU."""
    from tunegate.harness.models.servers.target import is_this_machine

    served = (arm for arm in arms.values() if isinstance(arm, ServedArm))
    return any(is_this_machine(arm.address) for arm in served)


def _count_attempts(
    store: AnswerCache, ledger: AttemptLedger, suites: Sequence[Suite]
) -> dict[str, JudgedAttempt]:
    """Return suite hash → the attempt by the ledger or by the store, whichever knows of more.

    The store knows the runs whose verdict is still to come, and the ledger those of other machines.
    """
    versions = [SuiteVersion(s.hash, s.rule_hash, len(s.cases)) for s in suites]
    stored = store.record_attempt(versions, ledger.candidate, whole=ledger.whole)
    recorded = {suite.hash: ledger.attempt(suite.name) for suite in suites}
    return {
        name: JudgedAttempt(
            max(one.number, recorded[name].number), max(one.extended, recorded[name].extended)
        )
        for name, one in stored.items()
    }


def _compare_prompts(
    plan: Plan, arms: Mapping[str, Arm], suites: Sequence[Suite]
) -> Mapping[str, Any]:
    """Return what was proven about the prompts; results of other tools have a check of their own.

    Raises:
        NotComparable: the arms were asked different things.
        UsageError: a recorded metric asks for scores that an arm has not.
    """
    scored = [arm for arm in arms.values() if isinstance(arm, ScoredArm)]
    if scored:
        from tunegate.harness.checks.recorded_results import check_recorded_scores, compare_results

        check_recorded_scores(suites, arms)
        if len(scored) == len(arms):
            return compare_results([p[:2] for p in plan.prompts if p[2] == "base"], arms)
    return comparability.check_comparability(plan.prompts, arms, suites)
