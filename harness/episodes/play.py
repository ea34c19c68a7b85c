"""Playing episodes: many at once, their calls on threads, their turns in the model's batch.

The ready turns of all episodes are given to the model together. Turns that get ready meanwhile join
the running batch, so no episode waits for the slowest turn of the others, or for a slow tool.

Every turn is stored under the hash of everything that led to it: arm, task, sample, settings, seed
and the conversation so far. An interrupted episode is replayed from its seed with turns from the
store. If a tool answers differently, the prompt differs and the model is asked.

An episode that fails, but not by the model's fault, is played twice more with the same seed and is
unscored after that.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from tunegate.harness.contracts.episode_environment import EpisodePlan
from tunegate.harness.contracts.model import Arm, Request
from tunegate.harness.episodes.environment_calls import EnvironmentCalls
from tunegate.harness.episodes.episode import (
    EnvironmentCall,
    EpisodeFailed,
    EpisodeSteps,
    episode_steps,
)
from tunegate.harness.episodes.process_guard import guard_process
from tunegate.harness.records.answers import Completion, StoredAnswer
from tunegate.harness.records.errors import BackendError

TRIES = 3
"""Times that an episode is played if its environment fails."""
GIVE_UP = 10
"""Failed episodes after which an arm is given up, unless one episode has ended."""
AT_ONCE = 256
"""Episodes played at a time."""
PATIENCE_S = 0.1
"""How long to wait for calls while other turns are ready."""
BLINK_S = 0.005
"""How long to wait for a new call between two steps of the model."""
UNWRITTEN_S = 0.25
"""Turns are written together at this interval, since each write waits for the disk."""


class TurnStore(Protocol):
    """Where turns are kept."""

    def completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Return the completions of the given keys that exist."""

    def put(self, answer: StoredAnswer, *, replace: bool = False) -> None:
        """Keep an answer."""

    def together(self) -> AbstractContextManager[None]:
        """Return a context whose rows are written together."""


EpisodeTurnRequest = tuple[Request, Request]
"""A turn's request, and its episode's."""
MoreTurns = Callable[[], Sequence[EpisodeTurnRequest]]
"""Returns the turns that got ready since its last call."""
AskTurns = Callable[[Sequence[EpisodeTurnRequest], MoreTurns], Generator[StoredAnswer, None, None]]
"""Asks the model for turns, and if it can, for those that get ready meanwhile."""


@dataclass(slots=True)
class _LiveEpisode:
    """An episode in progress."""

    request: Request
    steps: EpisodeSteps
    held: list[Any]
    """Its environment."""
    tries: int
    started_s: float = field(default_factory=time.time)


@dataclass
class EpisodePlayer:
    """Plays the episodes of a suite on one arm; may be used several times."""

    arm: Arm
    store: TurnStore
    plan: EpisodePlan
    pause: Callable[[], None] = lambda: None
    """Called between turns; raises if the user asked to stop."""
    finished: int = 0
    failed: int = 0
    reason: str = ""
    """Why the last episode failed."""
    _numbers: Iterator[int] = field(default_factory=count)
    _live: dict[int, _LiveEpisode] = field(default_factory=dict)
    _waiting: deque[Request] = field(default_factory=deque)
    _ready: list[tuple[int, Request]] = field(default_factory=list)
    _asked: dict[str, int] = field(default_factory=dict)
    """Key of a turn in the model's batch → its episode."""
    _called: bool = False
    """Whether a call was started since calls were last waited for."""
    _answers: deque[StoredAnswer] = field(default_factory=deque)
    _unwritten: list[StoredAnswer] = field(default_factory=list)
    _written_s: float = 0.0
    """When turns were last written."""

    def play(self, requests: Iterable[Request], ask: AskTurns) -> Iterator[StoredAnswer]:
        """Yield an answer for each request as soon as its episode has ended."""
        self._waiting = deque(requests)
        self._calls = EnvironmentCalls(self.plan.settings.tool_timeout_s)
        with guard_process(), ExitStack() as stack:
            stack.callback(self._end)
            while self._waiting or self._live:
                self._begin_waiting()
                self._await_calls(PATIENCE_S if self._ready else None)
                self.pause()
                yield from self._ask_ready(ask)
                yield from self._ended()

    def _begin_waiting(self) -> None:
        while self._waiting and len(self._live) < AT_ONCE:
            self._begin(self._waiting.popleft(), tries=1)

    def _end(self) -> None:
        """Store the turns; close the environments of unfinished episodes."""
        for number in list(self._live):
            self._leave(number)
        self._ready, self._asked, self._answers = [], {}, deque()
        self._write()

    def _ended(self) -> Iterator[StoredAnswer]:
        """Yield the answers of the episodes that have ended."""
        while self._answers:
            yield self._answers.popleft()
        if self.failed >= GIVE_UP and not self.finished:
            raise BackendError(
                f"the first {self.failed} episodes failed and none ended; the last one: "
                f"{self.reason}; fix the environment, then `tunegate resume`"
            )

    def _begin(self, request: Request, *, tries: int) -> None:
        number, held = next(self._numbers), list[Any]()
        steps = episode_steps(request, self.arm, held)
        self._live[number] = _LiveEpisode(request, steps, held, tries)
        self._advance(number, None)

    def _await_calls(self, patience_s: float | None) -> None:
        """Pass on what calls returned; None waits until turns are ready, and a little longer."""
        until = None if patience_s is None else time.monotonic() + patience_s
        self._called = False
        while len(self._calls):
            now = time.monotonic()
            for number, outcome in self._calls.collect(60.0 if until is None else until - now):
                self._advance(number, outcome)
            if until is None and self._ready:
                until = time.monotonic() + PATIENCE_S
            if until is not None and now >= until:
                return

    def _advance(self, number: int, sent: Any) -> None:
        """Send an episode what it waited for, and schedule what it needs next."""
        episode = self._live[number]
        try:
            wanted = episode.steps.send(sent)
        except StopIteration as end:
            self.finished += 1
            self._leave(number)
            cell, began = episode.request.cell, episode.started_s
            self._answers.append(StoredAnswer.of(cell, end.value, None, began))
        except EpisodeFailed as error:
            self._leave(number)
            if episode.tries < TRIES:
                self._begin(episode.request, tries=episode.tries + 1)
                return
            self.failed, self.reason = self.failed + 1, str(error)
            lost = StoredAnswer.of(episode.request.cell, None, self.reason, time.time())
            self._answers.append(lost)
        else:
            if isinstance(wanted, EnvironmentCall):
                self._calls.submit(number, wanted.function)
                self._called = True
            else:
                self._ready.append((number, wanted))

    def _leave(self, number: int) -> None:
        """Remove an episode; its environment is closed in the background."""
        closes = (getattr(one, "_close", None) for one in self._live.pop(number).held)
        self._calls.release(number, next(filter(callable, closes), None))

    def _ask_ready(self, ask: AskTurns) -> Iterator[StoredAnswer]:
        """Ask the model for the ready turns; yield the episodes that end meanwhile."""
        turns = self._unknown_turns()
        if not turns:
            return
        with closing(ask(turns, self._later_turns)) as answers:
            for answer in answers:
                if self.plan.settings.deterministic and answer.completion is not None:
                    self._unwritten.append(answer)
                    self._write_if_due()
                self._advance(self._asked.pop(answer.key), answer)
                yield from self._ended()
        self._write_if_due()

    def _later_turns(self) -> Sequence[EpisodeTurnRequest]:
        """Return the turns that got ready while the model was writing."""
        self.pause()
        self._write_if_due()
        self._begin_waiting()
        busy = BLINK_S if self._called else 0.0
        self._await_calls(busy if self._asked else PATIENCE_S)
        return self._unknown_turns()

    def _unknown_turns(self) -> list[EpisodeTurnRequest]:
        """Return the ready turns that are not stored; stored ones are passed on."""
        unknown: list[EpisodeTurnRequest] = []
        while self._ready:
            ready, self._ready = self._ready, []
            stored = self._known_turns([turn.key for _, turn in ready])
            for number, turn in ready:
                if turn.key in stored:
                    self._advance(number, StoredAnswer.of(turn.cell, stored[turn.key], None, 0.0))
                else:
                    self._asked[turn.key] = number
                    unknown.append((turn, self._live[number].request))
        return unknown

    def _known_turns(self, keys: Sequence[str]) -> dict[str, Completion]:
        if not self.plan.settings.deterministic:
            return {}
        unwritten = {one.key: one.completion for one in self._unwritten if one.completion}
        return {**self.store.completions(keys), **unwritten}

    def _write_if_due(self) -> None:
        if time.monotonic() - self._written_s >= UNWRITTEN_S:
            self._write()

    def _write(self) -> None:
        """Store the waiting turns."""
        with self.store.together():
            for answer in self._unwritten:
                self.store.put(answer)
        self._unwritten, self._written_s = [], time.monotonic()
