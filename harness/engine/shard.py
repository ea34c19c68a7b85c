"""A batch that is computed in another process: what is sent there, what comes back, who answers.

A worker holds the arms, opened from their specs, and answers a batch as one process would: with the
runner, on the batch alone, both arms after each other, so that drafts work. It has no store and
needs none: what is known of the batch is sent along, and every answer goes back to the driver.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from harness.engine.batching import Batch
from harness.engine.drafts import Watch
from harness.engine.levers import Levers
from harness.engine.noise import with_base_again
from harness.engine.plan import Plan, Question
from harness.engine.progress import Progress
from harness.engine.runner import Runner
from harness.engine.store import StoredAnswer
from harness.errors import BackendError, TunegateError
from harness.model import Answer, Arm, Request
from harness.models.pair import open_arms


@dataclass(frozen=True, slots=True)
class Shard:
    """A batch on its way to a worker."""

    batch: Batch[Question]
    requests: Mapping[tuple[Question, str], Request]
    """(question, arm) → what to send."""
    earlier: Mapping[str, str]
    """Key of a cell of tuned → key of what the candidate before wrote."""
    stored: Mapping[str, StoredAnswer]
    """Key → what is known already: answers of the batch, and drafts."""
    levers: Levers


@dataclass(frozen=True, slots=True)
class Answered:
    """What a worker made of a batch."""

    answers: tuple[Answer, ...]
    error: str | None = None
    """Why some are missing, if the backend or the worker's arms failed."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a worker opens the arms, and what proves that they are those of the driver."""

    specs: Mapping[str, str | None]
    dtype: str
    folder: str
    """Where relative paths of the specs start."""
    fingerprints: Mapping[str, str]
    """Arm → the fingerprint of the driver's."""

    def arms(self) -> dict[str, Arm]:
        """Open the arms.

        Raises:
            UsageError: one cannot be opened here.
            BackendError: one is another model here than where the run was planned.
        """
        with suppress(OSError):  # a machine without that folder may still know the specs
            os.chdir(self.folder)
        arms = open_arms(self.specs, dtype=self.dtype)
        for name, arm in arms.items():
            if arm.fingerprint != self.fingerprints[name]:
                raise BackendError(
                    f"{name} is another model in a worker than where the run was planned: give "
                    "the machines the same files, and name the number format with --gate-dtype"
                )
        return with_base_again(arms)


@dataclass
class Notebook:
    """A store in memory, of one batch: what is known, and what is found out."""

    rows: dict[str, StoredAnswer]
    written: dict[str, StoredAnswer] = field(default_factory=dict)

    def get(self, keys: Iterable[str]) -> dict[str, StoredAnswer]:
        """Return the rows of the given keys that exist."""
        return {key: self.rows[key] for key in keys if key in self.rows}

    def answered(self, keys: Iterable[str]) -> set[str]:
        """Return those of the given keys that hold a completion."""
        return {key for key, row in self.get(keys).items() if row.completion is not None}

    def put(self, key: str, answer: StoredAnswer, *, replace: bool = False) -> None:
        """Keep a row; a completion that is already there stays unless it is to be replaced."""
        if replace or key not in self.answered([key]):
            self.rows[key] = self.written[key] = answer

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do nothing: what is in memory waits for no disk."""
        yield


class Worker:
    """Answers batches; the arms are opened for the first one and stay."""

    def __init__(self, opening: Opening) -> None:
        """Take note of how to open the arms: a failure is to be told, not to break the worker."""
        self._opening = opening
        self._arms: dict[str, Arm] = {}
        self._watches: dict[tuple[str, str], Watch] = {}

    def answer(self, shard: Shard) -> Answered:
        """Answer the batch, as far as the backend goes."""
        notebook, error = Notebook(dict(shard.stored)), None
        plan = Plan((), (), shard.requests, {}, {}, shard.earlier)
        try:
            self._arms = self._arms or self._opening.arms()
            silent = Progress(1.0, stream=io.StringIO())
            runner = Runner(
                plan, self._arms, notebook, silent, levers=shard.levers, watches=self._watches
            )
            runner.answer(shard.batch, notebook.answered(shard.stored))
        except TunegateError as failure:
            error = str(failure)
        rows = notebook.written.items()
        answers = (Answer(key, row.completion, row.error, row.started_s) for key, row in rows)
        return Answered(tuple(answers), error)
