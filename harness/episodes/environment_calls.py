"""Environment calls: methods of environments on threads, each with a time limit.

An environment is code of the user that may sleep, print, read the keyboard or never return. A call
runs on a daemon thread of its own; one that is not back in time is left behind, its thread is asked
to end, and its episode has failed, while all others go on. What such a thread prints is swallowed
and standard input is closed to it.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import io
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO, cast

from tunegate.harness import lookup
from tunegate.harness.episode_environment import EnvironmentFailed

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


class EnvironmentCalls:
    """Calls in progress, each under a number of the caller's."""

    def __init__(self, timeout_s: float) -> None:
        """Allow each call so many seconds."""
        self.timeout_s = timeout_s
        self._waiting: deque[tuple[int, Callable[[], Any]]] = deque()
        self._running: dict[int, tuple[threading.Thread, float]] = {}
        self._back: queue.SimpleQueue[tuple[int, CallOutcome]] = queue.SimpleQueue()

    def __len__(self) -> int:
        """Return how many calls are waiting or running."""
        return len(self._waiting) + len(self._running)

    def submit(self, number: int, function: Callable[[], Any]) -> None:
        """Begin a call as soon as a thread is free."""
        self._waiting.append((number, function))
        self._start()

    def _start(self) -> None:
        while self._waiting and len(self._running) < THREADS:
            number, function = self._waiting.popleft()
            thread = threading.Thread(
                target=self._run, args=(number, function), name=_NAME, daemon=True
            )
            self._running[number] = thread, time.monotonic() + self.timeout_s
            thread.start()

    def _run(self, number: int, function: Callable[[], Any]) -> None:
        clock = time.perf_counter()
        try:
            value = function()
            if inspect.iscoroutine(value):
                value = asyncio.run(value)
            outcome = CallOutcome(value, None, time.perf_counter() - clock)
        except _ThreadAbandoned:
            return
        except BaseException as error:  # SystemExit included: it must not pass for an answer
            outcome = CallOutcome(None, error, time.perf_counter() - clock)
        self._back.put((number, outcome))

    def collect(self, wait_s: float) -> list[tuple[int, CallOutcome]]:
        """Return all that is back or timed out; wait for the first of it at most so long."""
        first = min((deadline for _, deadline in self._running.values()), default=0.0)
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
        for number, (thread, deadline) in list(self._running.items()):
            if now >= deadline:
                del self._running[number]
                _abandon(thread)
                text = f"it was not back after {self.timeout_s:g} s (tool_timeout_s)"
                yield number, CallOutcome(None, EnvironmentTimeout(text), self.timeout_s)


def _abandon(thread: threading.Thread) -> None:
    """Raise in a thread, which ends loops in Python; a call in C ends when it is back."""
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(_ThreadAbandoned)
        )


class _QuietOutput(io.TextIOBase):
    """Standard output that swallows what threads of environments print."""

    def __init__(self, real: TextIO) -> None:
        self.real = real

    def write(self, text: str) -> int:
        if threading.current_thread().name == _NAME:
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
    """While open, environments neither print, read the keyboard nor end the process."""
    out, keyboard = sys.stdout, sys.stdin
    sys.stdout = cast("TextIO", _QuietOutput(out))
    sys.stdin = _ClosedInput()
    try:
        with lookup.refuse_exit():
            yield
    finally:
        sys.stdout, sys.stdin = out, keyboard
