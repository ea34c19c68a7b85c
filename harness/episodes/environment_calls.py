"""Environment calls: methods of environments on threads, each with a time limit.

An environment is the user's code, which may sleep or never return. All calls of an episode run on
one daemon thread and in one event loop, so an environment may hold what belongs to a thread or a
loop, such as an SQLite connection or an asynchronous client. A call that times out is abandoned,
its thread is asked to end, and its episode fails while all others go on.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

THREADS = 16
"""Most calls at a time, not counting abandoned ones."""
_NAME = "tunegate-environment"


class EnvironmentTimeout(OSError):
    """A call of an environment that timed out."""


class _ThreadAbandoned(BaseException):
    """Raised in an abandoned thread, to end loops in it."""


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """Result of a call."""

    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0


class _EpisodeThread:
    """The thread that all calls of one episode run on."""

    def __init__(self, number: int, back: queue.SimpleQueue[tuple[int, CallOutcome]]) -> None:
        self._number, self._back = number, back
        self._calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=_NAME, daemon=True)
        self._thread.start()

    def begin(self, function: Callable[[], Any]) -> None:
        """Queue a function call, whose outcome goes into the result queue."""
        self._calls.put(function)

    def end(self, last: Callable[[], Any] | None) -> None:
        """End the thread after a last call, whose outcome is ignored."""
        self._calls.put(partial(_call_quietly, last))
        self._calls.put(None)

    def abandon(self) -> None:
        """Raise in the thread, which ends Python loops; a call in C has to return first."""
        if self._thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident), ctypes.py_object(_ThreadAbandoned)
            )
        self._calls.put(None)

    def _run(self) -> None:
        with suppress(_ThreadAbandoned), asyncio.Runner() as loop:
            while (function := self._calls.get()) is not None:
                self._back.put((self._number, _outcome(function, loop)))


def _outcome(function: Callable[[], Any], loop: asyncio.Runner) -> CallOutcome:
    clock = time.perf_counter()
    try:
        value = function()
        if inspect.iscoroutine(value):
            value = loop.run(value)
        return CallOutcome(value, None, time.perf_counter() - clock)
    except _ThreadAbandoned:
        raise
    except BaseException as error:  # also SystemExit: it is not an answer
        return CallOutcome(None, error, time.perf_counter() - clock)


def _call_quietly(function: Callable[[], Any] | None) -> Any:
    with suppress(Exception, SystemExit):
        return function and function()


class EnvironmentCalls:
    """Calls in progress, by the number of their episode."""

    def __init__(self, timeout_s: float) -> None:
        """Give each call `timeout_s` seconds."""
        self.timeout_s = timeout_s
        self._waiting: deque[tuple[int, Callable[[], Any]]] = deque()
        self._running: dict[int, float] = {}
        """Episode → deadline of its call."""
        self._threads: dict[int, _EpisodeThread] = {}
        self._back: queue.SimpleQueue[tuple[int, CallOutcome]] = queue.SimpleQueue()

    def __len__(self) -> int:
        """Return how many calls are waiting or running."""
        return len(self._waiting) + len(self._running)

    def submit(self, number: int, function: Callable[[], Any]) -> None:
        """Start a call as soon as fewer than `THREADS` are running."""
        self._waiting.append((number, function))
        self._start()

    def release(self, number: int, last: Callable[[], Any] | None = None) -> None:
        """End an episode's thread, after a last call that nobody waits for."""
        if (thread := self._threads.pop(number, None)) is not None:
            thread.end(last)

    def _start(self) -> None:
        while self._waiting and len(self._running) < THREADS:
            number, function = self._waiting.popleft()
            if number not in self._threads:
                self._threads[number] = _EpisodeThread(number, self._back)
            self._running[number] = time.monotonic() + self.timeout_s
            self._threads[number].begin(function)

    def collect(self, wait_s: float) -> list[tuple[int, CallOutcome]]:
        """Return the calls that finished or timed out; wait at most `wait_s` for the first."""
        first = min(self._running.values(), default=0.0)
        pause = max(0.0, min(wait_s, first - time.monotonic()))
        finished: list[tuple[int, CallOutcome]] = []
        with suppress(queue.Empty):
            finished.append(self._back.get(timeout=pause) if pause else self._back.get_nowait())
            while True:
                finished.append(self._back.get_nowait())
        done = [item for item in finished if self._running.pop(item[0], None) is not None]
        done += self._expire()
        self._start()
        return done

    def _expire(self) -> Iterator[tuple[int, CallOutcome]]:
        """Abandon the calls that timed out."""
        now = time.monotonic()
        for number, deadline in list(self._running.items()):
            if now >= deadline:
                del self._running[number]
                self._threads.pop(number).abandon()
                text = f"it was not back after {self.timeout_s:g} s (tool_timeout_s)"
                yield number, CallOutcome(None, EnvironmentTimeout(text), self.timeout_s)
