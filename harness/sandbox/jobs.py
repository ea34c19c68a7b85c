"""Many answers' tests at once: as many as there are cores, each kept as soon as it is known."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from tunegate.harness.records.hashing import sha256
from tunegate.harness.sandbox.chosen import usable_sandbox
from tunegate.harness.sandbox.contract import Limits, Sandbox, SandboxFailed
from tunegate.harness.sandbox.execution_outcome import End, Outcome
from tunegate.harness.sandbox.process import end_all
from tunegate.harness.sandbox.run_tests import Test, run_program, run_python_tests

_RECIPE = 3
"""Changes when the same program could get another outcome."""


@dataclass(frozen=True)
class TestJob:
    """An answer's code with the tests of its case."""

    code: str
    tests: tuple[Test, ...]
    solution: str | None = None
    """The case's own right answer: if it fails, the tests or the machine are at fault."""
    partial: bool = False
    """Whether every test runs by itself, so that those after a failure count."""
    command: tuple[str, ...] = ()
    """What runs a program, with `{file}`; empty is the sandbox's Python."""
    file_name: str = "answer.py"
    limits: Limits = field(default_factory=Limits)
    names: tuple[str, ...] | None = None
    """What tests in Python may take from the answer; None is everything that it defines."""
    objects: bool = False
    """Whether objects of the answer's classes reach tests in Python."""

    def outcome(self) -> Outcome:
        """Return the outcome, from memory or the store if the same job has run before."""
        sandbox = usable_sandbox()
        key = self.key(sandbox)
        with _lock:
            outcome = _known.get(key)
        if outcome is None:
            outcome = self._run(sandbox)
            if outcome.end is not End.UNKNOWN:
                with _lock:
                    _known[key] = outcome
        return outcome

    def key(self, sandbox: Sandbox) -> str:
        """Return a hash of everything that decides the outcome."""
        limits = [self.limits.cpu_s, self.limits.memory_mb, self.limits.processes]
        job = [self.code, self.tests, self.solution, self.partial, self.command, self.file_name]
        seen = [self.names, self.objects]
        return sha256(["tests", _RECIPE, sandbox.version(), sandbox.python(), limits, job, seen])

    def _run(self, sandbox: Sandbox) -> Outcome:
        try:
            outcome = self._run_code(sandbox, self.code)
            if outcome.end is End.PASSED or self.solution is None:
                return outcome
            reference = replace(self, code=self.solution, solution=None).outcome()
        except SandboxFailed as error:
            return Outcome.unknown(f"the sandbox failed: {error}")
        if reference.end is End.PASSED:
            return outcome
        return Outcome.unknown(f"the case's own solution fails its tests: {reference.reason}")

    def _run_code(self, sandbox: Sandbox, code: str) -> Outcome:
        texts = [test for test in self.tests if isinstance(test, str)]
        groups = [[text] for text in texts] if self.partial else [texts] if texts else []
        run = partial(run_python_tests, names=self.names, objects=self.objects)
        outcomes = [run(sandbox, code, group, self.limits) for group in groups]
        command = self.command or (sandbox.python(), "-s", "-B", "{file}")
        for test in self.tests:
            if isinstance(test, str) or (not self.partial and _any_failed(outcomes)):
                continue
            outcomes.append(run_program(sandbox, code, test, command, self.file_name, self.limits))
        return _joined(outcomes, len(self.tests))


def run_jobs(jobs: Iterable[TestJob]) -> None:
    """Run jobs side by side, so that `TestJob.outcome` has their outcomes at hand."""
    sandbox = usable_sandbox()
    waiting = {job.key(sandbox): job for job in jobs}
    waiting = {key: job for key, job in waiting.items() if key not in _known}
    kept = _session.read(waiting)
    with _lock:
        _known.update(kept)
    waiting = {key: job for key, job in waiting.items() if key not in kept}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        running = {pool.submit(job.outcome): key for key, job in waiting.items()}
        try:
            for number, future in enumerate(_as_they_end(running), start=1):
                outcome = future.result()
                # The next try may find a working sandbox, or a machine with more time.
                if outcome.end not in (End.UNKNOWN, End.TIME):
                    _session.write(running[future], outcome)
                _session.report(number, len(running), "running programs in answers")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in running):  # a job may start another process
                end_all()
                time.sleep(0.05)
            raise


class JobSession:
    """What happens to finished jobs: by default nothing."""

    def read(self, keys: Iterable[str]) -> dict[str, Outcome]:
        """Return the outcomes of those keys that are stored."""
        return {}

    def write(self, key: str, outcome: Outcome) -> None:
        """Store an outcome durably."""

    def report(self, done: int, total: int, what: str) -> None:
        """Show how many jobs have ended, of those that run side by side."""


@contextmanager
def job_session(session: JobSession) -> Iterator[None]:
    """Store and report the jobs inside."""
    global _session
    before, _session = _session, session
    try:
        yield
    finally:
        _session = before


def current_session() -> JobSession:
    """Return what happens to finished jobs now."""
    return _session


_lock = threading.Lock()
_known: dict[str, Outcome] = {}
_session = JobSession()


def _as_they_end(futures: Iterable[Future[Outcome]]) -> Iterator[Future[Outcome]]:
    left = set(futures)
    while left:
        ended, left = wait(left, timeout=0.2, return_when=FIRST_COMPLETED)
        yield from ended


def _any_failed(outcomes: Iterable[Outcome]) -> bool:
    return any(one.end is not End.PASSED for one in outcomes)


def _joined(outcomes: list[Outcome], count: int) -> Outcome:
    """Return one outcome: the tests of all, and the reason of the first that failed."""
    tests = tuple(passed for outcome in outcomes for passed in outcome.tests)
    tests += (False,) * (count - len(tests))
    first = next((outcome for outcome in outcomes if outcome.end is not End.PASSED), None)
    if first is None:
        return Outcome(end=End.PASSED, tests=tests)
    return first.model_copy(update={"tests": tests})
