"""Many questions at once over a network: bounded, patient, and never stuck.

`ask_all` keeps up to `limits.concurrency` questions under way on daemon threads and yields each
result as soon as it is known, in any order. A question is asked again after `Later`, with
exponential backoff and full jitter, until its attempts or its deadline are used up. A call that
hangs beyond its deadline is left behind: its thread ends with the process at the latest.

Example:
    >>> limits = Limits(concurrency=2)
    >>> dict(ask_all([1, 2, 3], lambda question, deadline: question * 10, limits))[2]
    20
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from harness.errors import BackendError
from harness.remote.failure import Failure, Refused
from harness.remote.limits import Limits
from harness.remote.question import Asked
from harness.remote.turns import Turns

Q = TypeVar("Q")
R = TypeVar("R")

_GRACE_S = 0.5
"""What a call may take beyond its deadline to notice it by itself before it is left behind."""
_WAITING = 16
"""Results an asker may pile up that nobody has read."""
_GONE = 10
"""Questions in a row without an answer, or twice the concurrency, after which nobody is there."""


def ask_all(
    questions: Iterable[Q],
    ask: Callable[[Q, float], R],
    limits: Limits,
    *,
    cost_of: Callable[[Q], float] = lambda question: 0.0,
    backend: str = "the backend",
    counted: Callable[[R, int], R] = lambda result, attempts: result,
) -> Generator[tuple[Q, R | Failure], None, None]:
    """Yield every question with its result, or with the reason why it has none.

    Closing the generator stops the asking at once; where `questions` ends early, what is under way
    is still answered.

    Args:
        questions: Taken one by one, as askers become free.
        ask: Answers a question until a moment on the monotonic clock (`time.monotonic`); raises
            `Later` or `Refused`. It is called on several threads at once.
        limits: How many at once, how often, how long.
        cost_of: Tokens that a question will take, for `limits.tokens_per_minute`.
        backend: Who is asked, for messages.
        counted: Returns a result together with the times that its question was asked.

    Raises:
        BackendError: the backend refuses everything, or answers nothing any more. What was under
            way has been yielded before.
    """
    pool = _Pool(iter(questions), ask, limits, cost_of, backend, counted)
    try:
        yield from pool.results()
    finally:
        pool.turns.end()


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[Q, R]):
    """A question with what came of it."""

    question: Q
    result: R | Failure


@dataclass
class _Pool(Generic[Q, R]):
    """The askers of one `ask_all`."""

    questions: Iterator[Q]
    ask: Callable[[Q, float], R]
    limits: Limits
    cost_of: Callable[[Q], float]
    backend: str
    counted: Callable[[R, int], R]
    under_way: set[Asked[Q]] = field(default_factory=set)
    askers: int = 0
    """Threads that take questions; those left behind do not count."""
    over: BackendError | None = None
    """Why the backend is asked no more; raised once all that is under way is known."""
    unanswered: int = 0
    """Questions without an answer since the last one that had one."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.turns = Turns(self.limits)
        # An exception in it is a defect; None wakes the reader.
        self.done: queue.Queue[_Outcome[Q, R] | Exception | None] = queue.Queue(
            _WAITING * self.limits.concurrency
        )

    def results(self) -> Iterator[tuple[Q, R | Failure]]:
        """Start the askers and yield what comes back."""
        for _ in range(self.limits.concurrency):
            self._start()
        # Looked at before the queue is: what an asker has put is there when it no longer counts.
        while self._working() or not self.done.empty():
            for outcome in (*self._next_done(), *self._left_behind()):
                yield outcome.question, outcome.result
        if self.over is not None:
            raise self.over

    def _working(self) -> bool:
        with self._lock:
            return self.askers > 0

    def _next_done(self) -> Iterator[_Outcome[Q, R]]:
        """Yield the next outcome, if one comes until a question is out of time."""
        with self._lock:
            waits = [asked.left() + _GRACE_S for asked in self.under_way]
        try:
            outcome = self.done.get(timeout=min(1.0, max(0.01, min(waits, default=1.0))))
        except queue.Empty:
            return
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            yield outcome

    def _left_behind(self) -> Iterator[_Outcome[Q, R]]:
        """Yield the questions out of time whose calls hang; others take their askers' places."""
        with self._lock:
            late = [a for a in self.under_way if a.left() < -_GRACE_S and a.settle()]
            self.under_way.difference_update(late)
        for asked in late:
            self._start()
            with self._lock:
                self.askers -= 1
            failure = asked.too_late(self.limits)
            self._note(failure)
            yield _Outcome(asked.question, failure)

    def _note(self, result: R | Failure) -> None:
        """Find out whether anybody is there: one bad question is one, many in a row are not."""
        lost = isinstance(result, Failure) and not result.refused
        with self._lock:
            self.unanswered = self.unanswered + 1 if lost else 0
            gone = self.unanswered >= max(_GONE, 2 * self.limits.concurrency)
        if gone and isinstance(result, Failure):
            self._end(f"{self.unanswered} questions in a row had no answer: {result.message}")

    def _end(self, why: str) -> None:
        """Ask nothing new; what is under way may still be answered."""
        with self._lock:
            self.over = self.over or BackendError(f"{self.backend}: {why}")
        self.turns.closing.set()

    def _start(self) -> None:
        with self._lock:
            self.askers += 1
        threading.Thread(target=self._work, name="tunegate-asker", daemon=True).start()

    def _work(self) -> None:
        """Answer questions until there are none; whatever happens is told to the reader."""
        while (asked := self._take()) is not None:
            result = self._result(asked)
            if not asked.settle():
                return  # left behind: another asker has taken this one's place
            with self._lock:
                self.under_way.discard(asked)
            self._put(result)
        self._put(None)
        with self._lock:
            self.askers -= 1

    def _take(self) -> Asked[Q] | None:
        with self._lock:
            if self.turns.closing.is_set():
                return None
            try:
                for question in self.questions:
                    asked = Asked(question, self.cost_of(question))
                    self.under_way.add(asked)
                    return asked
            except Exception as error:  # on its own thread nobody would see it
                self._put(error)
        return None

    def _result(self, asked: Asked[Q]) -> _Outcome[Q, R] | Exception:
        try:
            result = asked.answer(self.ask, self.turns, self.limits)
        except Exception as error:  # likewise
            return error
        if isinstance(result, Refused):
            self._end(str(result))
            result = Failure(str(result), asked.attempts, refused=True)
        self._note(result)
        if not isinstance(result, Failure):
            result = self.counted(result, asked.attempts)
        return _Outcome(asked.question, result)

    def _put(self, outcome: _Outcome[Q, R] | Exception | None) -> None:
        """Hand something to the reader, unless it has gone."""
        while not self.turns.stop.is_set():
            try:
                self.done.put(outcome, timeout=0.5)
            except queue.Full:
                continue
            return
