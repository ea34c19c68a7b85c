"""Sharding: batches go to worker processes, and their answers come back into one cache.

A worker opens the arms from their specs and answers a batch with the runner, both arms one after
the other, so that drafts work. It has no store: what is known of the batch is sent along.

The `WorkerPool` hands out batches, starts workers and replaces lost ones (see
`tunegate.harness.engine.ray_backend`); plan, stages and store stay in this process. Timed questions
are answered here when the workers are idle: running together they would slow each other down.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Protocol

from tunegate.harness.contracts.further_arm import add_derived_arms
from tunegate.harness.contracts.model import Arm, Request
from tunegate.harness.engine.optimizations import Optimizations
from tunegate.harness.engine.plan import Plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import Runner
from tunegate.harness.engine.scheduling import PlannedQuestion, RequestBatch
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import ALONE, Completion, StoredAnswer
from tunegate.harness.records.errors import BackendError, TunegateError

if TYPE_CHECKING:
    from tunegate.harness.engine.inference.speculative import DraftAcceptance


@dataclass(frozen=True, slots=True)
class Shard:
    """A batch on its way to a worker."""

    batch: RequestBatch
    requests: Mapping[tuple[PlannedQuestion, str], Request]
    """(question, arm) → what to send."""
    earlier: Mapping[str, str]
    """Key of a cell of tuned → key of what the candidate before wrote."""
    stored: Mapping[str, Completion]
    """Key → stored answers of the batch, and drafts."""
    optimizations: Optimizations


@dataclass(frozen=True, slots=True)
class ShardResult:
    """The result of a batch in a worker."""

    answers: tuple[StoredAnswer, ...]
    error: str | None = None
    """Why some are missing, if the backend or the worker's arms failed."""


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """How a worker opens the arms, and the fingerprints that they must have."""

    specs: Mapping[str, str | None]
    dtype: str
    folder: str
    """Where relative paths of the specs start."""
    fingerprints: Mapping[str, str]
    """Arm → the fingerprint of the driver's."""
    trusted: bool = False
    """Whether code in a model's folder may be run."""

    def arms(self) -> dict[str, Arm]:
        """Open the arms."""
        with suppress(OSError):  # a machine without that folder may still know the specs
            os.chdir(self.folder)
        arms = open_arms(self.specs, dtype=self.dtype, trusted=self.trusted)
        for name, arm in arms.items():
            if arm.fingerprint != self.fingerprints[name]:
                raise BackendError(
                    f"{name} is another model in a worker than where the run was planned: give "
                    "the machines the same files, and name the number format with --gate-dtype"
                )
        return add_derived_arms(arms)


@dataclass
class InMemoryAnswers:
    """A store in memory, for one batch."""

    completions_of: dict[str, Completion]
    written: dict[str, StoredAnswer] = field(default_factory=dict)

    def completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Return the completions of the given keys that exist."""
        return {key: self.completions_of[key] for key in keys if key in self.completions_of}

    def answered(self, keys: Iterable[str]) -> set[str]:
        """Return those of the given keys that hold a completion."""
        return set(self.completions(keys))

    def put(self, answer: StoredAnswer, *, replace: bool = False) -> None:
        """Keep an answer; a completion that is already there stays unless it is to be replaced."""
        if answer.key in self.completions_of and not replace:
            return
        self.written[answer.key] = answer
        self.completions_of.pop(answer.key, None)
        if answer.completion is not None:
            self.completions_of[answer.key] = answer.completion

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do nothing: what is in memory waits for no disk."""
        yield


class ShardWorker:
    """Answers batches; the arms are opened for the first one and stay."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Keep the setup; arms are opened with the first batch, where a failure is reported."""
        self._setup = setup
        self._arms: dict[str, Arm] = {}
        self._acceptance: dict[tuple[str, str], DraftAcceptance] = {}

    def answer(self, shard: Shard) -> ShardResult:
        """Answer the batch, or as much of it as the backend answers."""
        store, error = InMemoryAnswers(dict(shard.stored)), None
        plan = Plan((), (), shard.requests, {}, {}, shard.earlier)
        try:
            self._arms = self._arms or self._setup.arms()
            silent = ProgressReporter(1.0, stream=io.StringIO())
            runner = Runner(
                plan,
                self._arms,
                store,
                silent,
                optimizations=shard.optimizations,
                acceptance=self._acceptance,
            )
            runner.answer(shard.batch, store.answered(shard.stored))
        except TunegateError as failure:
            error = str(failure)
        return ShardResult(tuple(store.written.values()), error)


class WorkerPool(Protocol):
    """Workers that answer shards."""

    @property
    def workers(self) -> int:
        """How many there are."""

    def answer(
        self, shards: Sequence[Shard], setup: WorkerSetup
    ) -> Generator[ShardResult, None, None]:
        """Yield the result of each shard, in any order, as soon as it is known."""


@dataclass(frozen=True, kw_only=True)
class ShardedRunner(Runner):
    """Runs one plan with a pool of workers."""

    pool: WorkerPool
    setup: WorkerSetup

    @classmethod
    def of(cls, runner: Runner, pool: WorkerPool, setup: WorkerSetup) -> ShardedRunner:
        """Return the runner with a pool of workers."""
        given = {f.name: getattr(runner, f.name) for f in fields(runner)}
        return cls(**given, pool=pool, setup=setup)

    def batches_done(
        self, batches: Sequence[RequestBatch], answered: set[str]
    ) -> Generator[None, None, None]:
        """Answer batches; yield after each."""
        alone = [batch for batch in batches if batch.kind in ALONE]
        shards = [self._shard(batch) for batch in batches if batch.kind not in ALONE]
        if shards:
            with closing(self.pool.answer(shards, self.setup)) as back:
                for result in back:
                    self._keep_all(result, answered)
                    yield
        yield from super().batches_done(alone, answered)

    def _keep_all(self, result: ShardResult, answered: set[str]) -> None:
        for answer in result.answers:
            if answer.key not in self.work.effort:  # a turn of an episode
                self.store.put(answer)
                continue
            self._keep(answer, answered, f"{self.pool.workers} workers", replace=False)
        if result.error is not None:
            raise BackendError(result.error)

    def _shard(self, batch: RequestBatch) -> Shard:
        requests = {
            (question, arm): self.plan.requests[question, arm]
            for question in batch.questions
            for arm in self.arms
            if (question, arm) in self.plan.requests
        }
        keys = [request.key for request in requests.values()]
        earlier = {key: self.plan.earlier[key] for key in keys if key in self.plan.earlier}
        stored = self.store.completions((*keys, *earlier.values()))
        return Shard(batch, requests, earlier, stored, self.optimizations)
