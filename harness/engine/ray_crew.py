"""Workers through Ray Data: its actors hold the arms, and it hands out, retries and replaces.

Each row of the data set is one pickled shard, and a block of its own: what an actor loses is the
batch that it was at.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.engine.shard import Answered, Opening, Shard, Worker
from harness.errors import BackendError

TRIES = 3
"""How often a batch is begun whose worker was lost, before the run ends as resumable."""


@dataclass(frozen=True, slots=True)
class RayCrew:
    """Workers of a running Ray."""

    workers: int
    cpus: int
    """Cores of each."""
    gpus: int
    """GPUs of each."""

    def answer(self, shards: Sequence[Shard], opening: Opening) -> Generator[Answered, None, None]:
        """Yield what became of each shard, as soon as it is known.

        Raises:
            BackendError: a batch lost its worker several times, or Ray itself is gone.
        """
        import ray

        blocks = self._data(shards, opening).iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        )
        try:
            # Closed at once, whatever comes: Ray must not end while its data set is at work.
            with _closing(iter(blocks)) as tables:
                for table in tables:
                    yield from (pickle.loads(row.as_py()) for row in table["answered"])
        except ray.exceptions.RayTaskError:
            raise  # a defect of ours, with the worker's traceback
        except ray.exceptions.RayError as error:
            raise BackendError(
                f"Ray lost a worker {TRIES} times on one batch, or itself: {first_line(error)}; "
                "finished answers are stored: resume, perhaps with fewer workers"
            ) from error

    def _data(self, shards: Sequence[Shard], opening: Opening) -> Any:
        """Return the data set of the answers, of which nothing is computed yet."""
        import pyarrow as pa  # type: ignore[import-untyped]  # ships no types
        import ray

        tables = [pa.table({"shard": _column(pa, shard)}) for shard in shards]
        with warnings.catch_warnings():
            # Ray 2.64 will do without the last two arguments; the extra asks for an older one.
            warnings.simplefilter("ignore", category=ray.util.annotations.RayDeprecationWarning)
            return ray.data.from_arrow(tables).map_batches(
                RayWorker,
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(
                    size=self.workers, max_tasks_in_flight_per_actor=2
                ),
                fn_constructor_kwargs={"opening": opening},
                num_cpus=self.cpus,
                num_gpus=self.gpus or None,
                max_restarts=-1,
                max_task_retries=TRIES - 1,
            )


class RayWorker:
    """A worker as Ray Data calls it: tables of one pickled shard in, of what became of it out."""

    def __init__(self, opening: Opening) -> None:
        """Take note of how the arms are opened."""
        self._worker = Worker(opening)

    def __call__(self, table: Any) -> Any:
        """Answer the shards of a table."""
        import pyarrow as pa

        shards = [pickle.loads(row.as_py()) for row in table["shard"]]
        return pa.table({"answered": _column(pa, *map(self._worker.answer, shards))})


def _column(pa: Any, *values: object) -> Any:
    return pa.array([pickle.dumps(value) for value in values], type=pa.large_binary())


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def _closing(tables: Any) -> Iterator[Any]:
    """Yield the tables and close them; that tasks are broken off then is no news."""
    try:
        yield tables
    finally:
        with no_stderr():
            tables.close()


@contextmanager
def no_stderr() -> Iterator[None]:
    """Keep what Ray's processes print as they start and end from the terminal."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
