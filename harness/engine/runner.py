"""Runner: computes the missing cells, stores each answer as soon as it is known, can be stopped.

Batches run in the plan's order, one arm after the other on the same batch; every second timed
question in reverse order, so that neither a drifting machine nor being second favours an arm. If
some answers of a batch are stored already, the batch is still computed as planned, since its shape
can change an answer; stored answers stay.

Arms behind a network are asked all questions of a stage at once: batch by batch, each batch would
wait for its slowest answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from tunegate.harness.contracts.model import (
    Arm,
    JoinableArm,
    LocalArm,
    RecordedArm,
    RemoteArm,
    Request,
)
from tunegate.harness.engine.answer_cache import AnswerCache, AnswerStore
from tunegate.harness.engine.drafts import DraftSources, turn_draft
from tunegate.harness.engine.interrupts import StopRequest, stop_on_signal
from tunegate.harness.engine.optimizations import ALL, Optimizations
from tunegate.harness.engine.plan import Plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.remaining_work import RemainingWork
from tunegate.harness.engine.scheduling import PlannedQuestion, RequestBatch
from tunegate.harness.records.answers import ALONE, Cell, CellKind, StoredAnswer
from tunegate.harness.records.errors import OutOfMemory

if TYPE_CHECKING:
    from tunegate.harness.engine.inference.speculative import DraftAcceptance, KnownAnswer
    from tunegate.harness.episodes.play import EpisodePlayer, EpisodeTurnRequest, MoreTurns


_STORED_TOGETHER = 64
"""Batches of recorded answers that are stored at once: each time waits for the disk."""


class PlayOutside(Protocol):
    """Plays episodes by another program, which asks the model over an endpoint."""

    def __call__(
        self,
        name: str,
        arm: Arm,
        requests: Sequence[Request],
        store: AnswerStore,
        pause: Callable[[], None],
    ) -> Generator[StoredAnswer, None, None]:
        """Yield the answers of one suite's episodes; turns are kept in the store.

        `pause` is called now and then, and raises where the user asked to stop.
        """


@dataclass(frozen=True)
class Runner:
    """Runs one plan against its arms."""

    plan: Plan
    arms: Mapping[str, Arm]
    store: AnswerStore
    progress: ProgressReporter
    halved: list[int] = field(default_factory=list)
    """Sizes of batches that did not fit in memory and ran as halves."""
    optimizations: Optimizations = ALL
    """Which of the engine's optimizations are on."""
    acceptance: dict[tuple[str, str], DraftAcceptance] = field(default_factory=dict)
    """(arm, who wrote its drafts) → how well they were accepted."""
    decided: Callable[[int], Iterable[str]] = lambda stage: ()
    """Returns the suites that need not go on after a stage."""
    warm: set[str] = field(default_factory=set)
    """Arms that have answered a question before the first one that is timed."""
    players: dict[tuple[str, str], EpisodePlayer] = field(default_factory=dict)
    """(arm, suite) → who plays its episodes."""
    outside: PlayOutside | None = None
    """Plays episodes by another program; None without such episodes."""
    stops: list[StopRequest] = field(default_factory=list)
    """Knows whether the user asked to stop."""

    @cached_property
    def drafts(self) -> DraftSources:
        """Where local arms get drafts."""
        enabled = self.optimizations.drafts
        return DraftSources(self.plan, self.arms, self.store, self.acceptance, enabled)

    @cached_property
    def work(self) -> RemainingWork:
        """What is left to do."""
        return RemainingWork(self.plan, self.drafts, self.progress)

    def run(self) -> None:
        """Answer every cell that the store does not hold."""
        answered = self.store.answered(c.key for c in self.plan.cells)
        left = list(self.plan.batches)
        stage = 0
        try:
            with stop_on_signal() as stop:
                self.stops.append(stop)
                while left:
                    self.work.expect(
                        (arm, request)
                        for batch in left
                        for arm in self._missing(batch, answered)
                        for request in self._requests(batch, arm)
                    )
                    now = [b for b in left if b.stage == stage and self._missing(b, answered)]
                    self._play_outside(now, answered)
                    self._ask_remote(now, answered, stop)
                    here = [batch for batch in now if self._missing(batch, answered)]
                    with closing(self.batches_done(here, answered)) as done:
                        for _ in done:
                            stop.obey()
                    ended = set(self.decided(stage))
                    later = (b.without(ended) for b in left if b.stage > stage)
                    left = [batch for batch in later if batch is not None]
                    stage += 1
        finally:
            self.progress.close()

    def batches_done(
        self, batches: Sequence[RequestBatch], answered: set[str]
    ) -> Generator[None, None, None]:
        """Answer batches one after the other; yield after each."""
        recorded = all(isinstance(arm, RecordedArm) for arm in self.arms.values())
        left = iter(batches)
        while part := list(islice(left, _STORED_TOGETHER if recorded else 1)):
            with self.store.together() if recorded else nullcontext():
                for batch in part:
                    self.answer(batch, answered)
                    try:
                        yield
                    except GeneratorExit:  # the user asked to stop: what is answered is stored
                        return

    def _play_outside(self, batches: Sequence[RequestBatch], answered: set[str]) -> None:
        """Have the episodes played that another program plays: a suite and an arm at a time."""
        for name, arm in self.arms.items():
            suites: dict[str, list[Request]] = {}
            for request in unanswered_requests(self.plan, name, batches, answered):
                if request.episode is not None and request.episode.settings.inspect:
                    suites.setdefault(request.suite, []).append(request)
            if self.outside is None or isinstance(arm, RecordedArm):
                continue
            for suite, requests in suites.items():
                played = self.outside(name, arm, requests, self.store, self._obey)
                with closing(played) as answers:
                    for answer in answers:
                        self._keep(answer, answered, f"{suite} · {name}", replace=False)

    def _ask_remote(
        self, batches: Sequence[RequestBatch], answered: set[str], stop: StopRequest
    ) -> None:
        """Ask the arms behind a network all they lack, arm by arm."""
        for arm in remote_arms(self.arms):
            requests = unanswered_requests(self.plan, arm, batches, answered)
            suites = {request.key: request.suite for request in requests}
            with closing(self._answers(arm, InterruptibleRequests(requests, stop), {})) as answers:
                for answer in answers:
                    self._keep(answer, answered, f"{suites[answer.key]} · {arm}", replace=False)
            stop.obey()

    def _missing(self, batch: RequestBatch, answered: set[str]) -> list[str]:
        """Return the arms that have an unanswered question in the batch.

        A timed question is put to all arms again if one of them lacks it: times that were taken
        hours apart, or on different machines, cannot be compared.
        """
        keys_of = {arm: [r.key for r in self._requests(batch, arm)] for arm in self.arms}
        missing = [arm for arm, keys in keys_of.items() if not answered.issuperset(keys)]
        timed = batch.kind is CellKind.LATENCY and missing
        return [arm for arm, keys in keys_of.items() if keys] if timed else missing

    def _requests(self, batch: RequestBatch, arm: str) -> list[Request]:
        pairs = ((q, arm) for q in batch.questions)
        return [self.plan.requests[pair] for pair in pairs if pair in self.plan.requests]

    @cached_property
    def _reversed(self) -> frozenset[PlannedQuestion]:
        """Every second timed question."""
        timed = [b.questions[0] for b in self.plan.batches if b.kind is CellKind.LATENCY]
        return frozenset(timed[1::2])

    def answer(self, batch: RequestBatch, answered: set[str], *, again: bool = False) -> None:
        """Ask the arms that lack answers; where memory runs out, in halves, every arm alike."""
        keys = {r.key for arm in self.arms for r in self._requests(batch, arm)}
        before = keys & answered
        missing = self._missing(batch, answered)
        if batch.kind is CellKind.LATENCY:
            self._warm_up(batch, missing)
            answered -= keys
            if batch.questions[0] in self._reversed:
                missing.reverse()
        if all(self._run_arm(arm, batch, answered, again=again) for arm in missing):
            return
        self.halved.append(len(batch.questions))
        answered -= keys - before
        for half in batch.halves():
            self.answer(half, answered, again=True)

    def _warm_up(self, batch: RequestBatch, arms: Sequence[str]) -> None:
        """Let each arm answer its first timed question once before time counts."""
        for arm in (a for a in arms if a not in self.warm):
            self.warm.add(arm)
            with suppress(OutOfMemory):
                list(self._answers(arm, self._requests(batch, arm), {}))

    def _run_arm(self, arm: str, batch: RequestBatch, answered: set[str], *, again: bool) -> bool:
        """Store an arm's answers to a batch; return False if it must be tried in halves."""
        requests = self._requests(batch, arm)
        if not isinstance(self.arms[arm], LocalArm):
            requests = [r for r in requests if r.key not in answered]
        replace = again or batch.kind is CellKind.LATENCY
        written = batch.kind is CellKind.GENERATE
        drafts = self.drafts.find(batch.questions, arm) if written else {}
        try:
            recorded = isinstance(self.arms[arm], RecordedArm)
            with (
                self.store.together() if recorded else nullcontext(),
                closing(self._answers(arm, requests, drafts)) as answers,
            ):
                for answer in answers:
                    self._keep(answer, answered, self._label(batch, arm), replace=replace)
        except OutOfMemory as error:
            if len(requests) > 1:
                return False
            text = f"the model ran out of memory on this case alone ({error})"
            self._keep(
                StoredAnswer.of(requests[0].cell, None, text, time.time()),
                answered,
                self._label(batch, arm),
                replace=replace,
            )
        return True

    def _label(self, batch: RequestBatch, arm: str) -> str:
        """Return the current work, and how many tokens an arm took over from its drafts so far."""
        suite = batch.questions[0].suite
        share = self.drafts.kept_share(arm, suite)
        kept = "" if share is None else f" · {share:.0%} of drafts kept"
        return f"{suite} · {arm}{kept}"

    def _answers(
        self, arm: str, requests: Sequence[Request], drafts: Mapping[str, KnownAnswer]
    ) -> Generator[StoredAnswer, None, None]:
        """Yield an arm's answers; episodes are played, recorded answers are passed through."""
        played: dict[str, list[Request]] = {}
        if not isinstance(self.arms[arm], RecordedArm):
            for request in (r for r in requests if r.episode is not None):
                played.setdefault(request.suite, []).append(request)
        if not played:
            yield from self._complete(arm, requests, drafts)
            return
        plain = [request for request in requests if request.suite not in played]
        if plain:
            yield from self._complete(arm, plain, drafts)
        for episodes in played.values():
            yield from self._play(arm, episodes, drafts)

    def _play(
        self, arm: str, requests: Sequence[Request], episode_drafts: Mapping[str, KnownAnswer]
    ) -> Generator[StoredAnswer, None, None]:
        """Play episodes of one suite; a turn of another arm's is the draft of the same turn."""
        from tunegate.harness.episodes.play import EpisodePlayer

        def ask(
            turns: Sequence[EpisodeTurnRequest], later: MoreTurns
        ) -> Generator[StoredAnswer, None, None]:
            drafts: dict[str, KnownAnswer] = {}

            def drafted(turns: Sequence[EpisodeTurnRequest]) -> list[Request]:
                for turn, episode in turns:
                    draft = (
                        turn_draft(episode_drafts[episode.key], turn)
                        if episode.key in episode_drafts
                        else None
                    )
                    drafts.update({} if draft is None else {turn.key: draft})
                return [turn for turn, _ in turns]

            yield from self._complete(arm, drafted(turns), drafts, lambda: drafted(later()))

        plan = requests[0].episode
        assert plan is not None
        player = (arm, requests[0].suite)
        if player not in self.players:
            self.players[player] = EpisodePlayer(self.arms[arm], self.store, plan, pause=self._obey)
        yield from self.players[player].play(requests, ask)

    def _obey(self) -> None:
        for stop in self.stops:
            stop.obey()

    def _complete(
        self,
        arm: str,
        requests: Sequence[Request],
        drafts: Mapping[str, KnownAnswer],
        more: Callable[[], Sequence[Request]] = tuple,
    ) -> Generator[StoredAnswer, None, None]:
        """Yield an arm's answers; however this ends, the model is switched back at once.

        Local and served arms take in what `more` returns while they write; others are asked for it
        later.
        """
        backend = self.arms[arm]
        answers: Iterator[StoredAnswer]
        if isinstance(backend, LocalArm):
            from tunegate.harness.engine.inference import local_engine

            answers = local_engine.complete_requests(
                backend, requests, drafts, self.optimizations, more
            )
        elif more is not tuple and isinstance(backend, JoinableArm):
            answers = backend.complete_joined(requests, more)
        else:
            answers = backend.complete(requests)
        try:
            yield from answers
        finally:
            close = getattr(answers, "close", None)
            if close is not None:
                close()

    def _keep(self, answer: StoredAnswer, answered: set[str], label: str, *, replace: bool) -> None:
        """Store an answer and count it; one that an earlier run stored stays as it is."""
        self.store.put(answer, replace=replace and answer.key not in answered)
        answered.add(answer.key)
        self.work.count(answer, label)


def collect_answers(
    plan: Plan,
    store: AnswerCache,
    cached: Set[str],
    *,
    skipped: Callable[[Cell], bool] = lambda cell: False,
) -> Iterator[StoredAnswer]:
    """Yield every cell of the plan with what the store knows of it."""
    answers = store.read((c for c in plan.cells if not skipped(c)), cached)
    for cell in plan.cells:
        if skipped(cell):
            yield StoredAnswer(cell=cell, status="skipped")
        else:
            answer, failure = next(answers), plan.failures.get(cell.key)
            if failure is not None:
                answer = StoredAnswer(cell=cell, status="error", error=failure)
            yield answer


class InterruptibleRequests(list[Request]):
    """Requests that end early once the user asks to stop: what is in progress is still answered."""

    def __init__(self, requests: Sequence[Request], stop: StopRequest) -> None:
        """Keep the requests, and who knows when to stop."""
        super().__init__(requests)
        self.stop = stop

    def __iter__(self) -> Iterator[Request]:
        """Yield them until the user asks to stop."""
        for request in super().__iter__():
            if self.stop.requested:
                return
            yield request


def remote_arms(arms: Mapping[str, Arm]) -> tuple[str, ...]:
    """Return the arms behind a network."""
    return tuple(name for name, arm in arms.items() if isinstance(arm, RemoteArm))


def unanswered_requests(
    plan: Plan, arm: str, batches: Sequence[RequestBatch], answered: set[str]
) -> list[Request]:
    """Return what an arm has to answer of some batches; what is asked alone stays there."""
    pairs = [
        (question, arm)
        for batch in batches
        if batch.kind not in ALONE
        for question in batch.questions
    ]
    requests = [plan.requests[pair] for pair in pairs if pair in plan.requests]
    return [request for request in requests if request.key not in answered]
