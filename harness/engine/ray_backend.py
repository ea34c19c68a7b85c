"""Ray backend: workers through Ray Data, with Ray started or joined for the run.

Each row of the data set is one pickled shard in a block of its own, so a lost actor costs only the
batch it was working on. Without RAY_ADDRESS, Ray is started on this machine and ends with the run;
with it, the named cluster is used and left running. Each worker has one GPU if there are any,
otherwise its share of the cores.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.quiet import default_variables, quiet_libraries
from tunegate.harness.engine.sharding import Shard, ShardResult, ShardWorker, WorkerSetup
from tunegate.harness.models._model_folder import require_modules
from tunegate.harness.records.errors import BackendError, UsageError, error_reason

TRIES = 3
"""How often a batch is begun whose worker was lost, before the run ends as resumable."""


@dataclass(frozen=True, slots=True)
class RayWorkerPool:
    """Workers of a running Ray."""

    workers: int
    cpus: int
    """Cores of each."""
    gpus: int
    """GPUs of each."""

    def answer(
        self, shards: Sequence[Shard], setup: WorkerSetup
    ) -> Generator[ShardResult, None, None]:
        """Yield the result of each shard, as soon as it is known."""
        import ray

        blocks = self._data(shards, setup).iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        )
        try:
            # Closed at once, whatever comes: Ray must not end while its data set is running.
            with _close_after(iter(blocks)) as tables:
                for table in tables:
                    yield from (pickle.loads(row.as_py()) for row in table["answered"])
        except ray.exceptions.RayTaskError:
            raise  # a defect of ours, with the worker's traceback
        except ray.exceptions.RayError as error:
            raise BackendError(
                f"Ray lost a worker {TRIES} times on one batch, or itself: {error_reason(error)}; "
                "finished answers are stored: resume, perhaps with fewer workers"
            ) from error

    def _data(self, shards: Sequence[Shard], setup: WorkerSetup) -> Any:
        """Return the data set of the answers; nothing is computed yet."""
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
                fn_constructor_kwargs={"setup": setup},
                num_cpus=self.cpus,
                num_gpus=self.gpus or None,
                max_restarts=-1,
                max_task_retries=TRIES - 1,
            )


class RayWorker:
    """A worker as Ray Data calls it: tables of one pickled shard in, of its result out."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Keep the setup."""
        self._worker = ShardWorker(setup)

    def __call__(self, table: Any) -> Any:
        """Answer the shards of a table."""
        import pyarrow as pa

        shards = [pickle.loads(row.as_py()) for row in table["shard"]]
        return pa.table({"answered": _column(pa, *map(self._worker.answer, shards))})


def _column(pa: Any, *values: object) -> Any:
    return pa.array([pickle.dumps(value) for value in values], type=pa.large_binary())


@contextmanager
def _close_after(tables: Any) -> Iterator[Any]:
    """Yield the tables and close them, which stops tasks without an error."""
    try:
        yield tables
    finally:
        # A thread of Ray's prints on standard output that actors were killed.
        with hide_output(1, 2):
            tables.close()


@contextmanager
def hide_output(*streams: int) -> Iterator[None]:
    """Keep what Ray's processes print as they start and end from the terminal."""
    sys.stdout.flush()
    kept = {stream: os.dup(stream) for stream in streams}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in streams:
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, saved in kept.items():
            os.dup2(saved, stream)
            os.close(saved)
        os.close(nowhere)


OBJECTS = 256 * 1024**2
"""Bytes of shared memory of a Ray of our own: batches are texts."""
DATA_THREADS = ("StreamingExecutor-", "iter_threaded")
"""Prefix of the names of Ray Data's threads."""
LONGEST = 60.0
"""Seconds that a stopped data set has to end."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ENABLE_AUTO_CONNECT": "0",
}
"""Environment of Ray and its processes, where the user has not set it: no telemetry, no chatter."""


def refuse_missing() -> None:
    """Raise MissingExtra unless Ray Data is installed."""
    require_modules("ray", "pyarrow", "pandas", what="--gate-engine ray", extra="ray")


@contextmanager
def ray_workers(workers: int | None) -> Iterator[RayWorkerPool]:
    """Start or join Ray, and yield its workers; leave it as it was found.

    Args:
        workers: How many; None is one per GPU, or two without GPUs.
    """
    refuse_missing()
    with ExitStack() as after:
        after.enter_context(default_variables(QUIET))
        import ray
        import ray.data  # sets up its loggers

        # Recovered workers are not reported.
        after.enter_context(quiet_libraries("ray", "ray.data", level=logging.CRITICAL))
        theirs = ray.is_initialized() or bool(os.environ.get("RAY_ADDRESS"))
        try:
            if not ray.is_initialized():
                _begin(ray, workers, after)
        except Exception as error:
            raise UsageError(
                f"Ray cannot be used: {error_reason(error)}; check RAY_ADDRESS, or leave "
                "out --gate-engine to run in one process"
            ) from error
        resources: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        yield _size_pool(resources, workers, theirs=theirs)


def _begin(ray: Any, workers: int | None, after: ExitStack) -> None:
    """Join the cluster that RAY_ADDRESS names, or start one here; note how it is left."""
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if os.environ.get("RAY_ADDRESS"):
        after.callback(_end, ray)
        with _signals(), hide_output(2):
            ray.init(**quiet)
        return
    # Not TMPDIR: the path of a socket may have 107 bytes.
    parent = "/tmp" if Path("/tmp").is_dir() else None
    folder = tempfile.mkdtemp(prefix="tunegate-ray-", dir=parent)
    after.callback(shutil.rmtree, folder, ignore_errors=True)
    after.callback(_end, ray)
    with _signals(), hide_output(2):
        ray.init(
            address="local",
            num_cpus=max(workers or 2, os.cpu_count() or 1) + 1,
            include_dashboard=False,
            object_store_memory=OBJECTS,
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
            **quiet,
        )


def _end(ray: Any) -> None:
    """Leave Ray, which ends it unless others have started it, after its data set's threads.

    If Ray ends first, threads that still run end this process.
    """
    with hide_output(1, 2):
        for thread in threading.enumerate():
            if thread.name.startswith(DATA_THREADS):
                thread.join(timeout=LONGEST)
        ray.shutdown()


def _size_pool(
    resources: Mapping[str, float], workers: int | None, *, theirs: bool
) -> RayWorkerPool:
    """Return the pool that Ray has room for."""
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    count = workers or gpus or 2
    there, what = (gpus, "GPUs") if gpus else (cpus, "cores")
    if count > there:
        raise UsageError(f"--gate-workers={count}: Ray has {there} {what}; ask for at most {there}")
    share = 1 if theirs else max(1, (os.cpu_count() or 1) // count)
    return RayWorkerPool(count, cpus=share, gpus=int(gpus > 0))


@contextmanager
def _signals() -> Iterator[None]:
    """Keep the handler of SIGTERM: the one that Ray sets would end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
