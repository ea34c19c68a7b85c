"""Questions for arms behind a network: all of a stage at once, since many are asked at a time.

A local plan of batches would starve them: the last answer of each batch would be waited for before
the next is begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.engine.batching import Batch
from harness.engine.plan import Plan, Question
from harness.engine.stop import Stop
from harness.model import Arm, RemoteArm, Request
from harness.records import CellKind


class UntilStopped(list[Request]):
    """Requests that end early once the user asks to stop: what is under way is still answered."""

    def __init__(self, requests: Sequence[Request], stop: Stop) -> None:
        """Keep the requests, and who says that it is enough."""
        super().__init__(requests)
        self.stop = stop

    def __iter__(self) -> Iterator[Request]:
        """Yield them one by one, as long as nobody asked to stop."""
        for request in super().__iter__():
            if self.stop.requested:
                return
            yield request


def remote(arms: Mapping[str, Arm]) -> tuple[str, ...]:
    """Return the arms behind a network."""
    return tuple(name for name, arm in arms.items() if isinstance(arm, RemoteArm))


def unanswered(
    plan: Plan, arm: str, batches: Sequence[Batch[Question]], known: set[str]
) -> list[Request]:
    """Return what an arm has to answer of some batches; timed questions stay with their batches."""
    pairs = [
        (question, arm)
        for batch in batches
        if batch.kind is not CellKind.LATENCY
        for question in batch.questions
    ]
    requests = [plan.requests[pair] for pair in pairs if pair in plan.requests]
    return [request for request in requests if request.key not in known]
