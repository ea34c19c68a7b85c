"""Worker pool: concurrent requests over a network with rate limits, retries and deadlines.

`ask_all` keeps up to `limits.concurrency` questions in progress on daemon threads and yields each
result as soon as it is known, in any order. A question is asked again after `RetryableError`, with
exponential backoff and full jitter, until its attempts or its deadline are used up. A call that
hangs beyond its deadline is left behind: its thread ends with the process at the latest.

Example:
    >>> limits = PoolLimits(concurrency=2)
    >>> dict(ask_all([1, 2, 3], lambda question, deadline: question * 10, limits))[2]
    20
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, TypeVar

from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.remote.http import PermanentError, RequestFailure, RetryableError
from tunegate.harness.records.errors import BackendError

Q = TypeVar("Q")
R = TypeVar("R")

POLL_S = 0.02
"""Seconds after which further questions are looked for, while answers are waited for."""
_GRACE_S = 0.5
"""Grace period after a call's deadline, before the call is left behind."""
_WAITING = 16
"""Results an asker may pile up that nobody has read."""
_GONE = 10
"""Questions in a row without an answer, or twice the concurrency, after which nobody is there."""


def ask_all(
    questions: Iterable[Q] | QuestionFeed[Q],
    ask: Callable[[Q, float], R],
    limits: PoolLimits,
    *,
    cost_of: Callable[[Q], float] = lambda question: 0.0,
    backend: str = "the backend",
    counted: Callable[[R, int], R] = lambda result, attempts: result,
) -> Generator[tuple[Q, R | RequestFailure], None, None]:
    """Yield every question with its result, or with the reason why it has none.

    Closing the generator stops the asking at once; where `questions` ends early, those in progress
    are still answered.

    Args:
        questions: Taken one by one, as askers become free. With a feed, the asking ends when
            nothing is in progress and no more questions are ready.
        ask: Answers a question until a moment on the monotonic clock (`time.monotonic`); raises
            `RetryableError` or `PermanentError`. It is called on several threads at once.
        limits: How many at once, how often, how long.
        cost_of: Tokens that a question will take, for `limits.tokens_per_minute`.
        backend: Who is asked, for messages.
        counted: Returns a result together with the times that its question was asked.

    Raises:
        BackendError: the backend refuses everything, or answers nothing any more. What was under
            way has been yielded before.
    """
    feed = questions if isinstance(questions, QuestionFeed) else QuestionFeed(questions, None)
    pool = _RequestPool(iter(feed.first), ask, limits, cost_of, backend, counted, feed.more)
    try:
        yield from pool.results()
    finally:
        pool.turns.end()


@dataclass(frozen=True, slots=True)
class QuestionFeed(Generic[Q]):
    """Questions of which some get ready while others are answered."""

    first: Iterable[Q]
    more: Callable[[], Iterable[Q]] | None
    """Returns those that got ready since it was last called: on the thread that reads the results,
    between two of them and every `POLL_S` seconds."""


@dataclass(frozen=True, slots=True)
class _QuestionResult(Generic[Q, R]):
    """A question with what came of it."""

    question: Q
    result: R | RequestFailure


_NEVER = float("inf")


@dataclass(eq=False)
class PendingQuestion(Generic[Q]):
    """A question that has been taken, by one asker."""

    question: Q
    cost: float
    attempts: int = 0
    """Times it was asked."""
    faults: int = 0
    """Those of its attempts that failed without the server asking to wait."""
    deadline: float = _NEVER
    """Moment on the monotonic clock; never while it waits for its turn."""
    last: str = ""
    """Error of its last attempt."""
    budget: float = 0.0
    """Seconds that are left for its attempts and the waits between them."""
    settled: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def settle(self) -> bool:
        """Take the right to report the result; True for the first who asks for it."""
        with self._lock:
            first, self.settled = not self.settled, True
            return first

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return self.deadline - time.monotonic()

    def answer(
        self, ask: Callable[[Q, float], R], turns: ConcurrencyLimiter, limits: PoolLimits
    ) -> R | RequestFailure | PermanentError:
        """Return the answer, or the failure of the question after all its attempts.

        A `PermanentError` that is returned is about the whole backend.
        """
        self.budget = limits.deadline_s
        while turns.wait(self.cost):
            self.attempts, self.deadline = self.attempts + 1, time.monotonic() + self.budget
            try:
                return ask(self.question, self.deadline)
            except PermanentError as error:
                said = RequestFailure(str(error), self.attempts, refused=True)
                return error if error.whole else said
            except RetryableError as error:
                end = self._again(error, turns, limits)
                if end is not None:
                    return end
        return self._failure(self.last or "the run ended before it was asked")

    def _again(
        self, error: RetryableError, turns: ConcurrencyLimiter, limits: PoolLimits
    ) -> RequestFailure | PermanentError | None:
        """Wait before another attempt; return what the question comes to if there is none."""
        self.last = str(error)
        if error.after_s and error.after_s > LONGEST_PAUSE_S:
            text = f"{error}; it asks to wait {error.after_s:.0f} s, so resume later"
            return PermanentError(text, whole=True)
        self.budget = self.left()
        if error.after_s:
            turns.pause(error.after_s)
            if error.after_s >= self.budget:
                return self._failure(
                    f"{error}; the pause of {error.after_s:g} s ends after the deadline of "
                    f"{limits.deadline_s:g} s"
                )
        self.faults += not error.after_s
        if self.faults >= limits.attempts or self.attempts >= _PATIENCE * limits.attempts:
            return self._failure(self.last)
        until, self.deadline = self.deadline, _NEVER
        if error.after_s:
            # After the pause all would come at once: each takes a while longer.
            spread = self._draw(min(error.after_s, (self.budget - error.after_s) / 2))
            turns.closing.wait(error.after_s + spread)
        else:
            turns.closing.wait(min(self._backoff(), max(0.0, self.budget)))
        self.budget = until - time.monotonic()
        return self.too_late(limits) if self.budget <= 0 else None

    def too_late(self, limits: PoolLimits) -> RequestFailure:
        """Return the failure of a question out of time."""
        before = f"; the attempt before: {self.last}" if self.last else ""
        return self._failure(f"no answer within {limits.deadline_s:g} s{before}")

    def _failure(self, message: str) -> RequestFailure:
        tries = f" (asked {self.attempts} times)" if self.attempts > 1 else ""
        return RequestFailure(message + tries, self.attempts)

    def _backoff(self) -> float:
        """Return how long to wait now: drawn from zero to the bound, so that askers spread."""
        return self._draw(min(_LONGEST_S, _FIRST_S * 2 ** (self.faults - 1)))

    def _draw(self, most: float) -> float:
        """Return a part of `most`, the same for this attempt in every run."""
        draw = random.Random(f"{self.attempts} {self.question!r}")
        return draw.uniform(0.0, most)


@dataclass
class _RequestPool(Generic[Q, R]):
    """The askers of one `ask_all`."""

    questions: Iterator[Q]
    ask: Callable[[Q, float], R]
    limits: PoolLimits
    cost_of: Callable[[Q], float]
    backend: str
    counted: Callable[[R, int], R]
    more: Callable[[], Iterable[Q]] | None
    added: deque[Q] = field(default_factory=deque)
    """Questions of `more` that no asker has taken."""
    under_way: set[PendingQuestion[Q]] = field(default_factory=set)
    askers: int = 0
    """Threads that take questions; those left behind do not count."""
    over: BackendError | None = None
    """Why the backend is asked no more; raised once all that is in progress is known."""
    unanswered: int = 0
    """Questions without an answer since the last one that had one."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.turns = ConcurrencyLimiter(self.limits)
        # An exception in it is a defect; None wakes the reader.
        self.done: queue.Queue[_QuestionResult[Q, R] | Exception | None] = queue.Queue(
            _WAITING * self.limits.concurrency
        )

    def results(self) -> Iterator[tuple[Q, R | RequestFailure]]:
        """Start the askers and yield what comes back."""
        for _ in range(self.limits.concurrency):
            self._start()
        # Looked at before the queue is: what an asker has put is there when it no longer counts.
        while self._working() or not self.done.empty() or self._add_more():
            if self.more is not None:
                self._add_more()
            for outcome in (*self._next_done(), *self._left_behind()):
                yield outcome.question, outcome.result
        if self.over is not None:
            raise self.over

    def _working(self) -> bool:
        with self._lock:
            return self.askers > 0

    def _add_more(self) -> bool:
        """Take in further questions, with askers for them; False if none is left to be taken."""
        if self.more is None or self.turns.closing.is_set():
            return False
        self.added.extend(self.more())
        with self._lock:
            lacking = min(len(self.added), self.limits.concurrency - self.askers)
        for _ in range(lacking):
            self._start()
        return bool(self.added)

    def _next_done(self) -> Iterator[_QuestionResult[Q, R]]:
        """Yield the next outcome, if one comes until a question is out of time."""
        with self._lock:
            waits = [asked.left() + _GRACE_S for asked in self.under_way]
        try:
            longest = 1.0 if self.more is None else POLL_S
            outcome = self.done.get(timeout=min(longest, max(0.01, min(waits, default=1.0))))
        except queue.Empty:
            return
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            yield outcome

    def _left_behind(self) -> Iterator[_QuestionResult[Q, R]]:
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
            yield _QuestionResult(asked.question, failure)

    def _note(self, result: R | RequestFailure) -> None:
        """Find out whether anybody is there: one bad question is one, many in a row are not."""
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
        self.turns.closing.set()

    def _start(self) -> None:
        with self._lock:
            self.askers += 1
        threading.Thread(target=self._work, name="tunegate-asker", daemon=True).start()

    def _work(self) -> None:
        """Answer questions until there are none; whatever happens is passed to the reader."""
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

    def _take(self) -> PendingQuestion[Q] | None:
        with self._lock:
            if self.turns.closing.is_set():
                return None
            try:
                for question in chain(self.questions, self._added()):
                    asked = PendingQuestion(question, self.cost_of(question))
                    self.under_way.add(asked)
                    return asked
            except Exception as error:  # on its own thread nobody would see it
                self._put(error)
        return None

    def _added(self) -> Iterator[Q]:
        while self.added:
            yield self.added.popleft()

    def _result(self, asked: PendingQuestion[Q]) -> _QuestionResult[Q, R] | Exception:
        try:
            result = asked.answer(self.ask, self.turns, self.limits)
        except Exception as error:  # likewise
            return error
        if isinstance(result, PermanentError):
            self._end(str(result))
            result = RequestFailure(str(result), asked.attempts, refused=True)
        self._note(result)
        if not isinstance(result, RequestFailure):
            result = self.counted(result, asked.attempts)
        return _QuestionResult(asked.question, result)

    def _put(self, outcome: _QuestionResult[Q, R] | Exception | None) -> None:
        """Hand something to the reader, unless it has gone."""
        while not self.turns.stop.is_set():
            try:
                self.done.put(outcome, timeout=0.5)
            except queue.Full:
                continue
            return


_FIRST_S = 0.5
_LONGEST_S = 30.0
"""Backoff: at most 0.5 s after the first attempt, doubled each time, never more than 30 s."""
LONGEST_PAUSE_S = 300.0
"""A server that asks for a longer pause is not waited for: the run ends, and can be resumed."""
_PATIENCE = 20
"""Pauses that a server asks for do not count as attempts: it works, and names the time. They end at
so many times the attempts allowed."""


@dataclass
class RateLimiter:
    """Spreads a cost evenly: no minute ever holds more than the rate."""

    per_minute: float | None
    free_at: float = 0.0
    """When the next may go, on the monotonic clock."""

    def reserve(self, cost: float, now: float) -> float:
        """Return when a cost may be spent, and take that place."""
        if self.per_minute is None:
            return now
        turn = max(self.free_at, now)
        self.free_at = turn + 60.0 * cost / self.per_minute
        return turn


@dataclass
class ConcurrencyLimiter:
    """Lets askers through, one attempt at a time each."""

    limits: PoolLimits
    stop: threading.Event = field(default_factory=threading.Event)
    """Nobody is let through any more."""
    closing: threading.Event = field(default_factory=threading.Event)
    """Nothing new is begun: what is in progress may still be answered."""
    paused_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """Make the rates."""
        self._requests = RateLimiter(self.limits.requests_per_minute)
        self._tokens = RateLimiter(self.limits.tokens_per_minute)

    def wait(self, cost: float) -> bool:
        """Wait for the turn of an attempt that costs so many tokens; False once it never comes."""
        with self._lock:
            now = time.monotonic()
            turn = max(self._requests.reserve(1.0, now), self._tokens.reserve(cost, now))
        while not self.closing.is_set():
            # A pause may be prolonged by others while this one waits.
            left = max(turn, self.paused_until) - time.monotonic()
            if left <= 0:
                return True
            self.closing.wait(left)
        return False

    def pause(self, seconds: float) -> None:
        """Keep everybody still for so long from now."""
        with self._lock:
            self.paused_until = max(self.paused_until, time.monotonic() + seconds)

    def end(self) -> None:
        """Let nobody through any more, and wake those who wait."""
        self.closing.set()
        self.stop.set()
