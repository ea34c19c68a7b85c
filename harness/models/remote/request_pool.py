"""Request pool: concurrent requests over a network with rate limits, retries and deadlines.

`ask_all` keeps up to `limits.concurrency` questions in progress on daemon threads and yields each
result as soon as it is known, in any order. A question is asked again after `RetryableError`, with
exponential backoff and full jitter, until its attempts or its deadline are used up. A call that
hangs beyond its deadline is abandoned: its thread ends with the process at the latest.
`complete_all` does the same for the completions of arms and judge models, and counts requests.

Example:
    >>> limits = PoolLimits(concurrency=2)
    >>> dict(ask_all([1, 2, 3], lambda question, deadline: question * 10, limits))[2]
    20
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, TypeVar

from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.remote.failures import PermanentError, RequestFailure
from tunegate.harness.models.remote.rate_limits import RequestLimiter
from tunegate.harness.models.remote.retries import PendingQuestion
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.errors import BackendError

Q = TypeVar("Q")
R = TypeVar("R")

POLL_S = 0.02
"""Seconds after which further questions are looked for, while answers are waited for."""
_GRACE_S = 0.5
"""Grace period after a call's deadline, before the call is abandoned."""
_WAITING = 16
"""Unread results per worker."""
_GONE = 10
"""Failed questions in a row, or twice the concurrency, after which the backend is gone."""


def ask_all(
    questions: Iterable[Q] | QuestionFeed[Q],
    ask: Callable[[Q, float], R],
    limits: PoolLimits,
    *,
    cost_of: Callable[[Q], float] = lambda question: 0.0,
    backend: str = "the backend",
) -> Generator[tuple[Q, R | RequestFailure], None, None]:
    """Yield every question with its result or its failure.

    Closing the generator stops the asking at once; where `questions` ends early, those in progress
    are still answered.
    """
    with closing(_RequestPool(questions, ask, limits, cost_of, backend).results()) as results:
        for done in results:
            yield done.question, done.result


def complete_all(
    questions: Iterable[Q] | QuestionFeed[Q],
    ask: Callable[[Q, float], Completion],
    limits: PoolLimits,
    *,
    cost_of: Callable[[Q], float],
    backend: str,
) -> Generator[PoolAnswer[Q], None, None]:
    """Yield an answer for each question, as `ask_all` does.

    Where `ask` itself sends several requests, its completion says so in `attempts`.
    """
    with closing(_RequestPool(questions, ask, limits, cost_of, backend).results()) as results:
        for done in results:
            result = done.result
            if isinstance(result, RequestFailure):
                failure = result.message
                yield PoolAnswer(done.question, None, failure, done.started_s, result.attempts)
            else:
                requests = done.attempts - 1 + (result.attempts or 1)
                completion = result.model_copy(update={"attempts": requests})
                yield PoolAnswer(done.question, completion, None, done.started_s, requests)


@dataclass(frozen=True, slots=True)
class PoolAnswer(Generic[Q]):
    """A question with its completion, or with why it has none."""

    question: Q
    completion: Completion | None
    error: str | None
    started_s: float
    """Unix time at which its last attempt began."""
    requests: int
    """Requests that were sent for it, retries included."""


@dataclass(frozen=True, slots=True)
class QuestionFeed(Generic[Q]):
    """Questions; some may become ready only while others are answered."""

    first: Iterable[Q]
    more: Callable[[], Iterable[Q]] | None
    """Returns those that got ready since it was last called: on the thread that reads the results,
    between two of them and every `POLL_S` seconds."""


@dataclass(frozen=True, slots=True)
class _QuestionResult(Generic[Q, R]):
    """A question with what came of it."""

    question: Q
    result: R | RequestFailure
    attempts: int
    started_s: float


@dataclass
class _RequestPool(Generic[Q, R]):
    """The workers of one `ask_all` or `complete_all`."""

    feed: Iterable[Q] | QuestionFeed[Q]
    ask: Callable[[Q, float], R]
    limits: PoolLimits
    cost_of: Callable[[Q], float]
    backend: str
    added: deque[Q] = field(default_factory=deque)
    """Questions of `more` that no worker has taken."""
    under_way: set[PendingQuestion[Q]] = field(default_factory=set)
    workers: int = 0
    """Threads that take questions; those abandoned do not count."""
    over: BackendError | None = None
    """Why the backend is asked no more; raised once all that is in progress is known."""
    unanswered: int = 0
    """Questions without an answer since the last one that had one."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        feed = self.feed if isinstance(self.feed, QuestionFeed) else QuestionFeed(self.feed, None)
        self.questions, self.more = iter(feed.first), feed.more
        self.limiter = RequestLimiter(self.limits)
        # An exception in it is a defect; None wakes the reader.
        self.done: queue.Queue[_QuestionResult[Q, R] | Exception | None] = queue.Queue(
            _WAITING * self.limits.concurrency
        )

    def results(self) -> Generator[_QuestionResult[Q, R], None, None]:
        """Start the workers and yield what comes back; closing it stops the asking at once."""
        try:
            for _ in range(self.limits.concurrency):
                self._start()
            # In this order: a worker puts its result before it stops counting.
            while self._working() or not self.done.empty() or self._add_more():
                if self.more is not None:
                    self._add_more()
                yield from (*self._next_done(), *self._abandoned())
            if self.over is not None:
                raise self.over
        finally:
            self.limiter.end()

    def _working(self) -> bool:
        with self._lock:
            return self.workers > 0

    def _add_more(self) -> bool:
        """Take in further questions, with workers for them; False if no question is left."""
        if self.more is None or self.limiter.closing.is_set():
            return False
        self.added.extend(self.more())
        with self._lock:
            lacking = min(len(self.added), self.limits.concurrency - self.workers)
        for _ in range(lacking):
            self._start()
        return bool(self.added)

    def _next_done(self) -> Iterator[_QuestionResult[Q, R]]:
        """Yield the next outcome, if one comes until a question is out of time."""
        with self._lock:
            waits = [pending.left() + _GRACE_S for pending in self.under_way]
        try:
            longest = 1.0 if self.more is None else POLL_S
            outcome = self.done.get(timeout=min(longest, max(0.01, min(waits, default=1.0))))
        except queue.Empty:
            return
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            yield outcome

    def _abandoned(self) -> Iterator[_QuestionResult[Q, R]]:
        """Yield the questions out of time whose calls hang; start other workers instead."""
        with self._lock:
            late = [a for a in self.under_way if a.left() < -_GRACE_S and a.settle()]
            self.under_way.difference_update(late)
        for pending in late:
            self._start()
            with self._lock:
                self.workers -= 1
            failure = pending.too_late(self.limits)
            self._note(failure)
            yield _QuestionResult(pending.question, failure, pending.attempts, pending.started_s)

    def _note(self, result: R | RequestFailure) -> None:
        """End the run where many questions in a row had no answer."""
        lost = isinstance(result, RequestFailure) and not result.refused
        with self._lock:
            self.unanswered = self.unanswered + 1 if lost else 0
            gone = self.unanswered >= max(_GONE, 2 * self.limits.concurrency)
        if gone and isinstance(result, RequestFailure):
            self._end(f"{self.unanswered} questions in a row had no answer: {result.message}")

    def _end(self, why: str) -> None:
        """Ask nothing new; what is in progress may still be answered."""
        with self._lock:
            self.over = self.over or BackendError(f"{self.backend}: {why}")
        self.limiter.closing.set()

    def _start(self) -> None:
        with self._lock:
            self.workers += 1
        threading.Thread(target=self._work, name="tunegate-request", daemon=True).start()

    def _work(self) -> None:
        """Answer questions until none are left; pass results and errors to the reader."""
        while (pending := self._take()) is not None:
            result = self._result(pending)
            if not pending.settle():
                return  # abandoned: another worker was started instead
            with self._lock:
                self.under_way.discard(pending)
            self._put(result)
        self._put(None)
        with self._lock:
            self.workers -= 1

    def _take(self) -> PendingQuestion[Q] | None:
        with self._lock:
            if self.limiter.closing.is_set():
                return None
            try:
                for question in chain(self.questions, self._added()):
                    pending = PendingQuestion(question, self.cost_of(question))
                    self.under_way.add(pending)
                    return pending
            except Exception as error:  # on its own thread nobody would see it
                self._put(error)
        return None

    def _added(self) -> Iterator[Q]:
        while self.added:
            yield self.added.popleft()

    def _result(self, pending: PendingQuestion[Q]) -> _QuestionResult[Q, R] | Exception:
        try:
            result = pending.answer(self.ask, self.limiter, self.limits)
        except Exception as error:  # likewise
            return error
        if isinstance(result, PermanentError):
            self._end(str(result))
            result = RequestFailure(str(result), pending.attempts, refused=True)
        self._note(result)
        return _QuestionResult(pending.question, result, pending.attempts, pending.started_s)

    def _put(self, outcome: _QuestionResult[Q, R] | Exception | None) -> None:
        """Pass something to the reader, unless it is gone."""
        while not self.limiter.stop.is_set():
            try:
                self.done.put(outcome, timeout=0.5)
            except queue.Full:
                continue
            return
