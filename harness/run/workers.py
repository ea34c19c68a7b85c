"""Where answers are computed: in this process, by Ray workers, or by a vLLM server of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunegate.harness.models.open_arms import backend_of
from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from tunegate.harness.engine.sharding import WorkerPool

LOCAL, RAY, VLLM = "local", "ray", "vllm"


@dataclass(frozen=True, slots=True)
class ExecutionBackend:
    """An engine and the number of its workers."""

    engine: str = LOCAL
    count: int | None = None

    def refuse_impossible(self) -> None:
        """Check the choice before anything is opened."""
        if self.engine == RAY:
            from tunegate.harness.engine.ray_backend import refuse_missing

            refuse_missing()
        elif self.count is not None:
            raise UsageError("--gate-workers are Ray's processes: add --gate-engine ray")

    def served(self, specs: Mapping[str, str | None]) -> Mapping[str, str | None]:
        """Return the specs to open: vLLM serves folders and hub ids."""
        if self.engine != VLLM:
            return specs
        return {n: f"{VLLM}:{s}" if s and backend_of(s) is None else s for n, s in specs.items()}

    @contextlib.contextmanager
    def workers(self) -> Iterator[WorkerPool | None]:
        """Yield the workers, ready to answer; None where this process answers."""
        if self.engine != RAY:
            yield None
            return
        from tunegate.harness.engine.ray_backend import ray_workers

        with ray_workers(self.count) as pool:
            yield pool


HERE = ExecutionBackend()
"""This process."""
