"""Programs in answers: their sandbox is checked before a run asks, and what came out is stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


@contextmanager
def stored_outcomes(store: AnswerCache, stream: TextIO) -> Iterator[None]:
    """Keep the outcomes of programs among the stored answers, and show progress."""
    session = _StoredOutcomes(store, stream)
    try:
        with job_session(session):
            yield
    finally:
        session.close()


class _StoredOutcomes(JobSession):
    def __init__(self, store: AnswerCache, stream: TextIO) -> None:
        self._store, self._stream = store, stream
        self._progress: ProgressReporter | None = None

    def read(self, keys: Iterable[str]) -> dict[str, Outcome]:
        found = self._store.completions(keys)
        return {key: Outcome.model_validate_json(c.text) for key, c in found.items() if c.text}

    def write(self, key: str, outcome: Outcome) -> None:
        self._store.put(JudgeAnswer(key, Completion(text=outcome.model_dump_json()), None, 0.0))

    def report(self, done: int, total: int) -> None:
        if self._progress is None or done == 1:
            self.close()
            self._progress = ProgressReporter(float(total), stream=self._stream)
        self._progress.add(1.0, tokens=0, label="running programs in answers")
        if done == total:
            self.close()

    def close(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None
