"""Environment calls: methods of environments on threads, each with a time limit.

An environment is code of the user that may sleep, print, read the keyboard or never return. All
calls of an episode run on one daemon thread, in one event loop, so that an environment may hold
what belongs to a thread or a loop: a connection to SQLite, an asynchronous client. A call that is
not back in time is left behind, its thread is asked to end, and its episode has failed, while all
others go on. What such threads and those that they start print is swallowed, and standard input is
closed to them.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import io
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO, cast

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.episode_environment import EnvironmentFailed

THREADS = 16
"""Calls at a time; those that were left behind do not count."""
_NAME = "tunegate-environment"


class EnvironmentTimeout(OSError):
    """A call of an environment that was not back in time."""


class _ThreadAbandoned(BaseException):
    """Raised in a thread that was left behind, so that a loop in it ends."""


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
        """Have a function called; the outcome is put into the queue."""
        self._calls.put(function)

    def end(self, last: Callable[[], Any] | None) -> None:
        """End the thread after a last call, of which nothing is known."""
        self._calls.put(partial(_call_quietly, last))
        self._calls.put(None)

    def abandon(self) -> None:
        """Raise in the thread, which ends loops in Python; a call in C ends when it is back."""
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
    except BaseException as error:  # SystemExit included: it must not pass for an answer
        return CallOutcome(None, error, time.perf_counter() - clock)


def _call_quietly(function: Callable[[], Any] | None) -> Any:
    with suppress(Exception, SystemExit):
        return function and function()


class EnvironmentCalls:
    """Calls in progress, each under the number of its episode."""

    def __init__(self, timeout_s: float) -> None:
        """Allow each call so many seconds."""
        self.timeout_s = timeout_s
        self._waiting: deque[tuple[int, Callable[[], Any]]] = deque()
        self._running: dict[int, float] = {}
        """Episode → when the time of its call is up."""
        self._threads: dict[int, _EpisodeThread] = {}
        self._back: queue.SimpleQueue[tuple[int, CallOutcome]] = queue.SimpleQueue()

    def __len__(self) -> int:
        """Return how many calls are waiting or running."""
        return len(self._waiting) + len(self._running)

    def submit(self, number: int, function: Callable[[], Any]) -> None:
        """Begin a call of an episode as soon as fewer than `THREADS` are running."""
        self._waiting.append((number, function))
        self._start()

    def release(self, number: int, last: Callable[[], Any] | None = None) -> None:
        """Let an episode's thread end, after a last call that nobody waits for."""
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
        """Return all that is back or timed out; wait for the first of it at most so long."""
        first = min(self._running.values(), default=0.0)
        pause = max(0.0, min(wait_s, first - time.monotonic()))
        found: list[tuple[int, CallOutcome]] = []
        with suppress(queue.Empty):
            found.append(self._back.get(timeout=pause) if pause else self._back.get_nowait())
            while True:
                found.append(self._back.get_nowait())
        done = [item for item in found if self._running.pop(item[0], None) is not None]
        done += self._expire()
        self._start()
        return done

    def _expire(self) -> Iterator[tuple[int, CallOutcome]]:
        """Leave behind the calls whose time is up."""
        now = time.monotonic()
        for number, deadline in list(self._running.items()):
            if now >= deadline:
                del self._running[number]
                self._threads.pop(number).abandon()
                text = f"it was not back after {self.timeout_s:g} s (tool_timeout_s)"
                yield number, CallOutcome(None, EnvironmentTimeout(text), self.timeout_s)


class _QuietOutput(io.TextIOBase):
    """Standard output that swallows what threads of environments print.

    Those are all threads that began after it was put in place: the ones of episodes, and theirs.
    """

    def __init__(self, real: TextIO) -> None:
        self.real = real
        self.known = set(threading.enumerate())

    def write(self, text: str) -> int:
        if threading.current_thread() not in self.known:
            if text.strip():
                lookup.warn(
                    f"the environment prints, which is not shown: {text.strip().splitlines()[0]!r}"
                )
            return len(text)
        return self.real.write(text)

    def flush(self) -> None:
        self.real.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class _ClosedInput(io.StringIO):
    """Standard input that an environment finds closed."""

    def readline(self, *_: Any) -> Any:
        raise EnvironmentFailed("it reads standard input, which is closed to environments")

    read = readline


@contextmanager
def guard_process() -> Iterator[None]:
    """While open, environments neither print nor read the keyboard.

    The current directory is put back afterwards, should an environment have changed it.
    """
    out, keyboard = sys.stdout, sys.stdin
    folder = Path.cwd() if Path().exists() else None
    sys.stdout = cast("TextIO", _QuietOutput(out))
    sys.stdin = _ClosedInput()
    try:
        yield
    finally:
        sys.stdout, sys.stdin = out, keyboard
        if folder is not None:
            with suppress(OSError):
                os.chdir(folder)
