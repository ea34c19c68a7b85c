"""The runner over several processes: batches go out, answers come back into the one store.

Who hands out the batches, starts the workers and replaces a lost one is the crew's business (see
`harness.engine.ray_session`); the plan, its batches, its stages and the store stay here. Timed
questions are answered in this process when the workers are idle: beside each other they would time
each other.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from typing import Protocol

from harness.engine.batching import Batch
from harness.engine.plan import Question
from harness.engine.runner import Runner
from harness.engine.shard import Answered, Opening, Shard
from harness.errors import BackendError
from harness.records import CellKind


class Crew(Protocol):
    """Workers that answer shards."""

    @property
    def workers(self) -> int:
        """How many there are."""

    def answer(self, shards: Sequence[Shard], opening: Opening) -> Generator[Answered, None, None]:
        """Yield what became of each shard, in any order, as soon as it is known.

        Raises:
            BackendError: the workers are gone; what was yielded counts.
        """


@dataclass(frozen=True, kw_only=True)
class ShardedRunner(Runner):
    """Runs one plan with the help of a crew."""

    crew: Crew
    opening: Opening

    @classmethod
    def of(cls, runner: Runner, crew: Crew, opening: Opening) -> ShardedRunner:
        """Return the runner with the help of a crew."""
        given = {f.name: getattr(runner, f.name) for f in fields(runner)}
        return cls(**given, crew=crew, opening=opening)

    def batches_done(
        self, batches: Sequence[Batch[Question]], known: set[str]
    ) -> Generator[None, None, None]:
        """Answer batches; yield after each."""
        timed = [batch for batch in batches if batch.kind is CellKind.LATENCY]
        shards = [self._shard(batch) for batch in batches if batch.kind is not CellKind.LATENCY]
        if shards:
            with closing(self.crew.answer(shards, self.opening)) as back:
                for answered in back:
                    self._keep_all(answered, known)
                    yield
        yield from super().batches_done(timed, known)

    def _keep_all(self, answered: Answered, known: set[str]) -> None:
        for answer in answered.answers:
            self._keep(answer, known, f"{self.crew.workers} workers", replace=False)
        if answered.error is not None:
            raise BackendError(answered.error)

    def _shard(self, batch: Batch[Question]) -> Shard:
        asked = {
            (question, arm): self.plan.requests[question, arm]
            for question in batch.questions
            for arm in self.arms
            if (question, arm) in self.plan.requests
        }
        keys = [request.key for request in asked.values()]
        earlier = {key: self.plan.earlier[key] for key in keys if key in self.plan.earlier}
        stored = self.store.get((*keys, *earlier.values()))
        return Shard(batch, asked, earlier, stored, self.levers)
