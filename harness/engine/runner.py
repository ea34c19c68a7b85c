"""The runner: asks what is missing, stores each answer the moment it is known, can be stopped.

Batches run in the plan's order, every arm after the other on the same batch. A batch of which some
answers are stored already is computed again as planned, since the shape of a batch is part of how
its answers came about; what is stored stays.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.engine import local
from harness.engine.batching import Batch
from harness.engine.drafts import Watch
from harness.engine.plan import Plan, Question
from harness.engine.progress import Progress
from harness.engine.store import Store, StoredAnswer, reusable
from harness.errors import Interrupted
from harness.model import Answer, Arm, LocalArm, Request
from harness.records import Cell, CellKind, StoredCell


@dataclass
class Stop:
    """Whether the user asked to stop, and how urgently."""

    requested: bool = False
    signal_number: int = signal.SIGINT


@dataclass(frozen=True)
class Runner:
    """Runs one plan against its arms."""

    plan: Plan
    arms: Mapping[str, Arm]
    store: Store
    progress: Progress
    halved: list[int] = field(default_factory=list)
    """Sizes of batches that did not fit in memory and ran as halves."""
    drafting: bool = True
    """Whether base's answers are tried as drafts of the other arms'."""
    watches: dict[str, Watch] = field(default_factory=dict)
    """Arm → how well its drafts were accepted."""

    def run(self) -> None:
        """Answer every cell that the store does not hold.

        Raises:
            Interrupted: the user asked to stop; finished answers are stored.
            BackendError: a backend or the store failed; finished answers are stored.
        """
        known = set(reusable(self.store.get(c.key for c in self.plan.cells)))
        todo = [b for b in self.plan.batches if self._missing(b, known)]
        self.progress.total = sum(self._work(b, known) for b in todo) or 1.0
        with _stoppable() as stop:
            for batch in todo:
                self._run_batch(batch, known)
                if stop.requested:
                    raise Interrupted(f"stopped by signal {stop.signal_number}")
        self.progress.close()

    def _missing(self, batch: Batch[Question], known: set[str]) -> list[str]:
        """Return the arms that have an unanswered question in the batch."""
        return [
            arm
            for arm in self.arms
            if any(r.key not in known for r in self._requests(batch, arm))
        ]

    def _requests(self, batch: Batch[Question], arm: str) -> list[Request]:
        pairs = ((q, arm) for q in batch.questions)
        return [self.plan.requests[pair] for pair in pairs if pair in self.plan.requests]

    def _work(self, batch: Batch[Question], known: set[str]) -> float:
        return float(len(batch.questions) * len(self._missing(batch, known)))

    def _run_batch(self, batch: Batch[Question], known: set[str]) -> None:
        try:
            for arm in self._missing(batch, known):
                self._run_arm(arm, batch, known)
        except local.OutOfMemory:
            if len(batch.questions) == 1:
                raise
            self.halved.append(len(batch.questions))
            for half in batch.halves():
                self._run_batch(half, known)

    def _run_arm(self, arm: str, batch: Batch[Question], known: set[str]) -> None:
        requests = self._requests(batch, arm)
        label = f"{requests[0].suite} · {arm}"
        backend = self.arms[arm]
        answers: Iterator[Answer]
        if isinstance(backend, LocalArm):
            answers = local.complete(backend, requests, self._drafts(batch, arm))
        else:
            answers = backend.complete([r for r in requests if r.key not in known])
        for answer in answers:
            stored = StoredAnswer(answer.completion, answer.error, answer.started_s)
            self.store.put(answer.key, stored)
            known.add(answer.key)
            tokens = answer.completion.output_tokens or 0 if answer.completion else 0
            self.progress.add(1.0, tokens=tokens, label=label)


    def _drafts(self, batch: Batch[Question], arm: str) -> local.Drafts | None:
        """Return base's stored answers to the batch's greedy questions, where drafting pays."""
        if arm == "base" or batch.kind is not CellKind.GENERATE or not self.drafting:
            return None
        watch = self.watches.setdefault(arm, Watch())
        pairs = {
            self.plan.requests[q, arm].key: self.plan.requests[q, "base"].key
            for q in batch.questions
            if {(q, arm), (q, "base")} <= self.plan.requests.keys() and watch.pays(q.suite)
            if self.plan.requests[q, arm].generation.temperature == 0
        }
        stored = self.store.get(pairs.values())
        found = {own: stored[base].completion for own, base in pairs.items() if base in stored}
        return local.Drafts({k: c for k, c in found.items() if c and c.text is not None}, watch)


def collect(plan: Plan, store: Store, cached: set[str]) -> Iterator[StoredCell]:
    """Yield every cell of the plan with what the store knows of it."""
    rows = store.get(c.key for c in plan.cells)
    for cell in plan.cells:
        yield _stored(cell, rows.get(cell.key), plan.failures.get(cell.key), cell.key in cached)


def _stored(
    cell: Cell, row: StoredAnswer | None, failure: str | None, hit: bool
) -> StoredCell:
    if failure is not None:
        return StoredCell(cell=cell, status="error", error=failure)
    if row is None:
        return StoredCell(cell=cell, status="missing", error="it was never answered")
    status = "error" if row.completion is None else "ok"
    return StoredCell(
        cell=cell,
        status=status,
        completion=row.completion,
        error=row.error,
        started_s=row.started_s,
        cache_hit=hit,
    )


@contextmanager
def _stoppable() -> Iterator[Stop]:
    """While open, the first Ctrl-C or SIGTERM finishes the batch, the second stops at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: Any) -> None:
        if stop.requested:
            raise Interrupted(f"stopped at once by signal {number}")
        stop.requested, stop.signal_number = True, number

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
