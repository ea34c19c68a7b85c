"""One question on its way: its attempts, its waits and its deadline."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from harness.remote.failure import Failure, Later, Refused
from harness.remote.limits import Limits
from harness.remote.turns import Turns

Q = TypeVar("Q")
R = TypeVar("R")

_FIRST_S = 0.5
_LONGEST_S = 30.0
"""Backoff: at most 0.5 s after the first attempt, doubled each time, never more than 30 s."""
LONGEST_PAUSE_S = 300.0
"""A server that asks for a longer pause is not waited for: the run ends, and can be resumed."""
_NEVER = float("inf")


@dataclass(eq=False)
class Asked(Generic[Q]):
    """A question that has been taken, by one asker."""

    question: Q
    cost: float
    attempts: int = 0
    deadline: float = _NEVER
    """Moment on the monotonic clock; never while it waits for its turn."""
    last: str = ""
    """What its last attempt failed of."""
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
        self, ask: Callable[[Q, float], R], turns: Turns, limits: Limits
    ) -> R | Failure | Refused:
        """Return the answer, or what became of the question after all its attempts.

        A `Refused` that is returned is about the whole backend.
        """
        self.budget = limits.deadline_s
        while turns.wait(self.cost):
            self.attempts, self.deadline = self.attempts + 1, time.monotonic() + self.budget
            try:
                return ask(self.question, self.deadline)
            except Refused as error:
                said = Failure(str(error), self.attempts, refused=True)
                return error if error.whole else said
            except Later as error:
                end = self._again(error, turns, limits)
                if end is not None:
                    return end
        return self._failure(self.last or "the run ended before it was asked")

    def _again(self, error: Later, turns: Turns, limits: Limits) -> Failure | Refused | None:
        """Wait before another attempt; return what the question comes to if there is none."""
        self.last = str(error)
        if error.after_s and error.after_s > LONGEST_PAUSE_S:
            text = f"{error}; it asks to wait {error.after_s:.0f} s, so resume later"
            return Refused(text, whole=True)
        if error.after_s:
            turns.pause(error.after_s)
        if self.attempts >= limits.attempts:
            return self._failure(self.last)
        turns.closing.wait(min(self._backoff(), max(0.0, self.left())))
        self.budget = self.left()
        if self.budget <= 0:
            return self.too_late(limits)
        self.deadline = _NEVER
        return None

    def too_late(self, limits: Limits) -> Failure:
        """Return the failure of a question out of time."""
        before = f"; the attempt before: {self.last}" if self.last else ""
        return self._failure(f"no answer within {limits.deadline_s:g} s{before}")

    def _failure(self, message: str) -> Failure:
        tries = f" (asked {self.attempts} times)" if self.attempts > 1 else ""
        return Failure(message + tries, self.attempts)

    def _backoff(self) -> float:
        """Return how long to wait now: drawn from zero to the bound, so that askers spread."""
        draw = random.Random(f"{self.attempts} {self.question!r}")  # the same in every run
        return draw.uniform(0.0, min(_LONGEST_S, _FIRST_S * 2 ** (self.attempts - 1)))
