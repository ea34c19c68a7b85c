"""Prepared run: planned requests that are answered, scored and decided, one step at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.contracts.further_arm import comparisons
from tunegate.harness.contracts.model import Arm
from tunegate.harness.decision.answer_facts.read_answers import read_answers
from tunegate.harness.decision.scoring import score_suite
from tunegate.harness.decision.verdict.decide import ScoredRun, decide_run
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.optimizations import ALL, Optimizations
from tunegate.harness.engine.plan import Plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import PlayOutside, Runner, collect_answers
from tunegate.harness.records.answers import Cell, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.labels import Label
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.attempt_ledger import CountedAttempts
from tunegate.harness.suite import Suite

EMPTY: Mapping[str, Any] = MappingProxyType({})

AfterLook = Callable[[int], Iterable[str]]
"""Takes the number of an interim look; returns the suites that end with it."""


def continue_all_suites(look: int) -> tuple[str, ...]:
    """Let every suite go on, as an `AfterLook`."""
    return ()


_REPLAYED_TASKS = 20
"""About how many tasks of a suite have their episodes played again, to check the rewards."""


@dataclass(frozen=True)
class PreparedRun:
    """A run with planned requests; all arms are known to get the same prompts."""

    suites: Sequence[Suite]
    arms: Mapping[str, Arm]
    """The opened arms, base among them."""
    answering_arms: Mapping[str, Arm]
    """The arms to ask: opened ones, and further ones made from them."""
    plan: Plan
    store: AnswerCache
    seed: int
    comparability: Mapping[str, Any]
    """What was proven about the prompts."""
    attempts: CountedAttempts
    stored: Set[str]
    """Keys of the answers that were stored before the run asked anything."""

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
        after_look: AfterLook = continue_all_suites,
        distribute: Callable[[Runner], Runner] = lambda runner: runner,
        logs: Path | None = None,
    ) -> None:
        """Have the arms answer every request that has no stored answer.

        Args:
            stream: Where progress is shown.
            arms: The arms to ask now; None asks all of them.
            optimizations: Optimizations of local inference to use.
            after_look: Called after each interim look.
            distribute: Returns the runner that does the work, such as one with several processes.
            logs: Folder for the logs of other programs that play tasks; None keeps no logs.

        Raises:
            RunInterrupted, BackendError: it ended early; finished answers are stored.
        """
        progress = ProgressReporter(1.0, stream=stream)
        with self._inspect_player(stream, logs) as outside:
            runner = Runner(
                self.plan,
                self.answering_arms if arms is None else arms,
                self.store,
                progress,
                optimizations=optimizations,
                decided=after_look,
                outside=outside,
            )
            distribute(runner).run()

    @contextmanager
    def _inspect_player(self, stream: TextIO, logs: Path | None) -> Iterator[PlayOutside | None]:
        """Yield the player of Inspect's tasks; None where no suite has any."""
        episodes = (suite.episode for suite in self.suites if suite.episode is not None)
        if not any(episode.settings.inspect for episode in episodes):
            yield None
            return
        from tunegate.harness.serving.inspect_tasks.player import InspectPlayer

        def report(line: str) -> None:
            stream.write(f"tunegate: {line}\n")
            stream.flush()

        with ExitStack() as stack:
            folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            yield InspectPlayer(self.seed, folder, report).play

    def answers(
        self, *, skipped: Callable[[Cell], bool] = lambda cell: False
    ) -> Iterator[StoredAnswer]:
        """Yield the stored answer of every planned request, in the order of the plan."""
        return collect_answers(self.plan, self.store, self.stored, skipped=skipped)

    def score(
        self, answers: Iterable[StoredAnswer], *, scored: Mapping[str, Sequence[ScoreRow]] = EMPTY
    ) -> Iterator[ScoreRow]:
        """Yield the scores of all metrics that ask no judge.

        Args:
            answers: The answers, in the order of the plan.
            scored: Suite → rows that are scored already.

        Raises:
            BackendError: a metric or an environment gave the same answer another score.
        """
        arms = tuple(dict.fromkeys(cell.arm for cell in self.plan.cells))
        suites = {suite.name: suite for suite in self.suites}
        for name, of_suite in groupby(answers, key=lambda stored: stored.cell.suite):
            suite, rows = suites[name], of_suite
            if suite.episode is not None and suite.episode.settings.deterministic:
                rows = self._check_rewards(suite, rows)
            yield from score_suite(suite, rows, arms, scored=scored.get(name, ()))

    def _check_rewards(
        self, suite: Suite, answers: Iterator[StoredAnswer]
    ) -> Iterator[StoredAnswer]:
        """Return the answers, after a sample of their episodes was paid the same reward again."""
        from tunegate.harness.episodes.null_policy import refuse_other_rewards

        rows = list(answers)
        stride = max(1, len(suite.cases) // _REPLAYED_TASKS)
        chosen = {case.id for case in suite.cases[::stride]}
        requests = {request.cell.key: request for request in self.plan.requests.values()}
        played = [
            (requests[stored.key], stored.completion.episode)
            for stored in rows
            if stored.cell.case in chosen and not stored.cell.sample and stored.key in requests
            if stored.completion is not None and stored.completion.episode is not None
        ]
        if played and suite.episode is not None:
            refuse_other_rewards(suite.name, suite.episode, played)
        return iter(rows)

    def manifest(self, run_id: str, suites: Iterable[SuiteRecord] | None = None) -> Manifest:
        """Return the manifest of a run that writes no folder, as far as a decision needs it."""
        extended = self.attempts.extended
        records = suites or [
            suite.record().model_copy(update={"extended": extended.get(suite.hash, 0)})
            for suite in self.suites
        ]
        return Manifest(
            run_id=run_id,
            created="",
            command=(),
            arms={name: dict(arm.identity) for name, arm in self.arms.items()},
            suites=tuple(records),
            plan=self.plan.cells,
            seed=self.seed,
            versions={},
            comparability=dict(self.comparability),
            liveness={},
            attempts=self.attempts.numbers,
            ledger=self.attempts.ledger_states(),
        )

    def with_scores(
        self,
        manifest: Manifest,
        scores: Sequence[ScoreRow],
        *,
        cells: Iterable[StoredAnswer] = (),
        looks: Mapping[str, InterimLook] = EMPTY,
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
            answers=read_answers(manifest, self.cases, scores, cells, looks),
            looks=looks,
            arms=self.arms,
            prompts=self.plan.prompts,
        )

    def decide(self, scored: ScoredRun, labels: Sequence[Label] = ()) -> VerdictRecord:
        """Return the verdict on base and tuned, and on the further arms that are compared."""
        if labels:
            from tunegate.harness.decision.verdict.redecide import current_labels

            labels = current_labels(labels, scored.cells, scored.manifest.suites)
        verdict = decide_run(
            scored.manifest,
            scored.cases,
            scored.scores,
            looks=scored.looks,
            answers=scored.answers,
            labels=labels,
        )
        for name, comparison in comparisons(self.arms).items():
            verdict = verdict.after(name, comparison.compare(scored))
        return verdict
