"""The ids under which a run's traces know its cases, and the way to a viewer that has them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.run import Run
from harness.tracing import viewer
from harness.tracing.export import TRACES
from harness.tracing.identifiers import Identifiers, plan_sha256


@dataclass(frozen=True, slots=True)
class Traces:
    """A run as a viewer of traces sees it."""

    ids: Identifiers
    link: str | None
    """Address of a span in the viewer, with places for the ids; None where no viewer is known."""

    def case(self, suite: str, name: str) -> str:
        """Return the id of a case's span."""
        return self.ids.case(suite, name)


def traces(run: Run) -> Traces | None:
    """Return what is known of a run's traces; None where it left none.

    Whatever the run's folder says, a link leads to a web page: it was read from a file.
    """
    link = run.manifest.origin.get(viewer.ORIGIN)
    if link is None and not (run.folder / TRACES).is_file():
        return None
    known = link if link is not None and viewer.problem(link) is None else None
    return Traces(Identifiers.of(run.manifest, plan_sha256(run.manifest)), known)
