"""Playing episodes: many at once, their calls on threads, their turns in the model's batch.

The turns of all episodes that are ready are put to the model together. Turns that get ready while
it writes enter the running batch, so that no episode waits for the slowest turn of the others. A
slow tool does not hold up the others for more than a moment.

Every turn is stored under the hash of all that led to it: arm, task, sample, settings, seed and the
conversation so far. An interrupted episode is played again from its seed; its environment answers
as before, and the turns come from the store. A tool that answers otherwise makes another prompt,
and its turn is asked: nothing is reused wrongly.

An episode that fails for a reason other than the model is played twice more with the same seed, and
is unscored after that.
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
from tunegate.harness.episodes.environment_calls import EnvironmentCalls, guard_process
from tunegate.harness.episodes.episode import (
    EnvironmentCall,
    EpisodeFailed,
    EpisodeSteps,
    episode_steps,
)
from tunegate.harness.records.answers import Completion, StoredAnswer
from tunegate.harness.records.errors import BackendError

TRIES = 3
"""Times that an episode is played whose environment fails."""
GIVE_UP = 10
"""Failed episodes, none having ended, after which an arm is given up."""
AT_ONCE = 256
"""Episodes that are played at a time."""
PATIENCE_S = 0.1
"""How long calls are waited for while the turns of other episodes are ready."""
BLINK_S = 0.005
"""How long a call that was just begun is waited for between two steps of the model."""
UNWRITTEN_S = 0.25
"""Turns of so many seconds may wait to be written together: each write waits for the disk."""


class TurnStore(Protocol):
    """Where turns are kept."""

    def completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Return the completions of the given keys that exist."""

    def put(self, answer: StoredAnswer, *, replace: bool = False) -> None:
        """Keep an answer."""

    def together(self) -> AbstractContextManager[None]:
        """Return a context whose rows may be kept at once."""


EpisodeTurnRequest = tuple[Request, Request]
"""A turn's request, and its episode's."""
MoreTurns = Callable[[], Sequence[EpisodeTurnRequest]]
"""Returns the turns that got ready since it was last called; may be called between two steps."""
AskTurns = Callable[[Sequence[EpisodeTurnRequest], MoreTurns], Generator[StoredAnswer, None, None]]
"""Asks the model for turns of several episodes, and for those that get ready meanwhile if it can
take them in; the others it is asked for later."""


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
    """Plays the episodes of a suite on one arm; it may be asked several times."""

    arm: Arm
    store: TurnStore
    plan: EpisodePlan
    """Of any of the episodes."""
    pause: Callable[[], None] = lambda: None
    """Called between turns; raises where the user asked to stop."""
    finished: int = 0
    failed: int = 0
    reason: str = ""
    """Why the last one failed."""
    _numbers: Iterator[int] = field(default_factory=count)
    _live: dict[int, _LiveEpisode] = field(default_factory=dict)
    _waiting: deque[Request] = field(default_factory=deque)
    _ready: list[tuple[int, Request]] = field(default_factory=list)
    _asked: dict[str, int] = field(default_factory=dict)
    """Key of a turn that the model is asked for → its episode."""
    _called: bool = False
    """Whether a call was begun since calls were last waited for."""
    _answers: deque[StoredAnswer] = field(default_factory=deque)
    _unwritten: list[StoredAnswer] = field(default_factory=list)
    _written_s: float = 0.0
    """When turns were last written."""

    def play(self, requests: Iterable[Request], ask: AskTurns) -> Iterator[StoredAnswer]:
        """Yield an answer for each request as soon as its episode has ended.

        Raises:
            BackendError: the first episodes all failed: the environment is broken.
        """
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
        """Keep the turns; close the environments of episodes that were stopped."""
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
        """Hand back what calls returned: all of them, or those that are back in time.

        Args:
            patience_s: Seconds to wait; None waits until turns are ready, and a little longer.
        """
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
        """Send an episode what it waited for, and take note of what it waits for next."""
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
        """Take an episode out; its environment is closed on its thread, and nobody waits for it."""
        closes = (getattr(one, "_close", None) for one in self._live.pop(number).held)
        self._calls.release(number, next(filter(callable, closes), None))

    def _ask_ready(self, ask: AskTurns) -> Iterator[StoredAnswer]:
        """Put the turns that are ready to the model; yield the episodes that end meanwhile."""
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
        """Return the turns that got ready while the model writes others."""
        self.pause()
        self._write_if_due()
        self._begin_waiting()
        busy = BLINK_S if self._called else 0.0
        self._await_calls(busy if self._asked else PATIENCE_S)
        return self._unknown_turns()

    def _unknown_turns(self) -> list[EpisodeTurnRequest]:
        """Return the turns that are ready and not stored; those that are stored are handed back."""
        found: list[EpisodeTurnRequest] = []
        while self._ready:
            ready, self._ready = self._ready, []
            known = self._known_turns([turn.key for _, turn in ready])
            for number, turn in ready:
                if turn.key in known:
                    self._advance(number, StoredAnswer.of(turn.cell, known[turn.key], None, 0.0))
                else:
                    self._asked[turn.key] = number
                    found.append((turn, self._live[number].request))
        return found

    def _known_turns(self, keys: Sequence[str]) -> dict[str, Completion]:
        if not self.plan.settings.deterministic:
            return {}
        unwritten = {one.key: one.completion for one in self._unwritten if one.completion}
        return {**self.store.completions(keys), **unwritten}

    def _write_if_due(self) -> None:
        if time.monotonic() - self._written_s >= UNWRITTEN_S:
            self._write()

    def _write(self) -> None:
        """Store the turns that wait for it."""
        with self.store.together():
            for answer in self._unwritten:
                self.store.put(answer)
        self._unwritten, self._written_s = [], time.monotonic()
