"""Where completions are computed: in this process, or by workers on this machine or others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.engine.sharded import Crew
from harness.errors import UsageError

LOCAL, RAY = "local", "ray"


@dataclass(frozen=True, slots=True)
class Place:
    """A choice of engine and of how many workers it has."""

    engine: str = LOCAL
    workers: int | None = None

    def refuse_impossible(self) -> None:
        """Refuse what can be seen to be impossible before anything is opened.

        Raises:
            UsageError: workers without an engine that has any.
            MissingExtra: the engine is not installed.
        """
        if self.engine == RAY:
            from harness.engine.ray_session import refuse_missing

            refuse_missing()
        elif self.workers is not None:
            raise UsageError("--gate-workers are Ray's processes: add --gate-engine ray")

    @contextmanager
    def crew(self) -> Iterator[Crew | None]:
        """Yield the workers, ready to answer; None for this process."""
        if self.engine != RAY:
            yield None
            return
        from harness.engine.ray_session import ray_crew

        with ray_crew(self.workers) as crew:
            yield crew


HERE = Place()
"""This process."""
