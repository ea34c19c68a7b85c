"""Programs in answers: their sandbox is checked before a run asks, and what came out is stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TextIO

from tunegate.harness.contracts.judge import JudgeAnswer
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.errors import SuiteError, UsageError
from tunegate.harness.sandbox.chosen import choose_sandbox, usable_sandbox
from tunegate.harness.sandbox.contract import SandboxFailed
from tunegate.harness.sandbox.execution_outcome import Outcome
from tunegate.harness.sandbox.jobs import JobSession, job_session
from tunegate.harness.suite import Suite, consistency


def open_sandbox(spec: str, suites: Iterable[Suite]) -> str | None:
    """Choose the sandbox of this process; return its version if a suite needs one."""
    choose_sandbox(spec)
    suites = [each for each in suites if any(metric.job is not None for metric in each.metrics)]
    if not suites:
        return None
    try:
        version = usable_sandbox().version()
        problems = [problem for suite in suites for problem in dry_run(suite)]
    except SandboxFailed as error:
        raise UsageError(str(error)) from error
    if problems:
        raise SuiteError(problems)
    return version


def dry_run(suite: Suite) -> list[str]:
    """Return the problems of a suite that show when its tests run without a model."""
    place = str(suite.path)
    return [
        problem
        for metric in suite.metrics
        for problem in consistency.dry_run_problems(place, metric, suite.cases)
    ]


class _ShownJobs(JobSession):
    """Shows the progress of jobs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._progress: ProgressReporter | None = None

    def report(self, done: int, total: int, what: str) -> None:
        if self._progress is None:
            self._progress = ProgressReporter(float(total), stream=self._stream)
        self._progress.add(done - self._progress.done, tokens=0, label=what)
        if done == total:
            self.close()

    def close(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None


@contextmanager
def shown_jobs(stream: TextIO) -> Iterator[None]:
    """Show the progress of programs and stubs."""
    with closing(_ShownJobs(stream)) as session, job_session(session):
        yield


@contextmanager
def stored_outcomes(store: AnswerCache, stream: TextIO) -> Iterator[None]:
    """Keep the outcomes of programs among the stored answers, and show progress."""
    with closing(_StoredOutcomes(store, stream)) as session, job_session(session):
        yield


class _StoredOutcomes(_ShownJobs):
    def __init__(self, store: AnswerCache, stream: TextIO) -> None:
        super().__init__(stream)
        self._store = store

    def read(self, keys: Iterable[str]) -> dict[str, Outcome]:
        found = self._store.completions(keys)
        return {key: Outcome.model_validate_json(c.text) for key, c in found.items() if c.text}

    def write(self, key: str, outcome: Outcome) -> None:
        self._store.put(JudgeAnswer(key, Completion(text=outcome.model_dump_json()), None, 0.0))
