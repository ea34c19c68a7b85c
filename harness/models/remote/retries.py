"""Retries: one question with its attempts, waits and deadline."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.remote.failures import PermanentError, RequestFailure, RetryableError
from tunegate.harness.models.remote.rate_limits import RequestLimiter

Q = TypeVar("Q")
R = TypeVar("R")

_FIRST_S = 0.5
_LONGEST_S = 30.0
"""Backoff: at most 0.5 s after the first attempt, doubled each time, never more than 30 s."""
LONGEST_PAUSE_S = 300.0
"""A server that asks for a longer pause is not waited for: the run ends, and can be resumed."""
_PATIENCE = 20
"""Pauses that a server asks for do not count as attempts: it works, and names the time. They end at
so many times the attempts allowed."""
_NEVER = float("inf")


@dataclass(eq=False)
class PendingQuestion(Generic[Q]):
    """A question that has been taken, by one worker."""

    question: Q
    cost: float
    attempts: int = 0
    """Times it was asked."""
    started_s: float = field(default_factory=time.time)
    """Unix time at which its last attempt began."""
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
        self, ask: Callable[[Q, float], R], limiter: RequestLimiter, limits: PoolLimits
    ) -> R | RequestFailure | PermanentError:
        """Return the answer, or the failure of the question after all its attempts.

        A `PermanentError` that is returned is about the whole backend.
        """
        self.budget = limits.deadline_s
        while limiter.wait(self.cost):
            self.attempts, self.started_s = self.attempts + 1, time.time()
            self.deadline = time.monotonic() + self.budget
            try:
                return ask(self.question, self.deadline)
            except PermanentError as error:
                refusal = RequestFailure(str(error), self.attempts, refused=True)
                return error if error.whole else refusal
            except RetryableError as error:
                end = self._again(error, limiter, limits)
                if end is not None:
                    return end
        return self._failure(self.last or "the run ended before it was asked")

    def _again(
        self, error: RetryableError, limiter: RequestLimiter, limits: PoolLimits
    ) -> RequestFailure | PermanentError | None:
        """Wait before another attempt; return the failure if no attempt is left."""
        self.last = str(error)
        if error.after_s and error.after_s > LONGEST_PAUSE_S:
            text = f"{error}; it asks to wait {error.after_s:.0f} s, so resume later"
            return PermanentError(text, whole=True)
        self.budget = self.left()
        if error.after_s:
            limiter.pause(error.after_s)
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
            limiter.closing.wait(error.after_s + spread)
        else:
            limiter.closing.wait(min(self._backoff(), max(0.0, self.budget)))
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
        """Return how long to wait now: drawn from zero to the bound, so that workers spread."""
        return self._draw(min(_LONGEST_S, _FIRST_S * 2 ** (self.faults - 1)))

    def _draw(self, most: float) -> float:
        """Return a part of `most`, the same for this attempt in every run."""
        draw = random.Random(f"{self.attempts} {self.question!r}")
        return draw.uniform(0.0, most)
