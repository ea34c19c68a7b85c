"""Store relay: carries turns between threads that serve requests and the one with the store."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tunegate.harness.engine.answer_cache import AnswerStore
from tunegate.harness.records.answers import Completion, StoredAnswer
from tunegate.harness.serving.batch_server import ServerStopped


@dataclass
class StoreRelay:
    """Passes turns between threads that serve requests and the one that owns the store."""

    store: AnswerStore
    _calls: queue.SimpleQueue[tuple[Sequence[str], Future[dict[str, Completion]]] | None] = field(
        default_factory=queue.SimpleQueue
    )
    _unwritten: list[StoredAnswer] = field(default_factory=list)
    _closed: bool = False

    def completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Wait for the store's thread and return the completions of some keys."""
        completions: Future[dict[str, Completion]] = Future()
        self._calls.put((list(keys), completions))
        if self._closed:
            raise ServerStopped
        return completions.result()

    def put(self, answer: StoredAnswer, *, replace: bool = False) -> None:
        """Store an answer soon."""
        self._unwritten.append(answer)
        self._calls.put(None)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do nothing: answers are always written in batches."""
        yield

    def serve(self, wait_s: float) -> None:
        """Handle calls of other threads; wait at most `wait_s` for the first."""
        with suppress(queue.Empty):
            call = self._calls.get(timeout=wait_s)
            while True:
                if call is not None:
                    keys, future = call
                    self.write()
                    future.set_result(self.store.completions(keys))
                call = self._calls.get_nowait()
        self.write()

    def write(self) -> None:
        """Store the answers that were put."""
        count = len(self._unwritten)
        if not count:
            return
        with self.store.together():
            for answer in self._unwritten[:count]:
                self.store.put(answer)
        del self._unwritten[:count]

    def close(self) -> None:
        """Release waiting threads with an error, and store the answers that were put."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                call = self._calls.get_nowait()
                if call is not None:
                    call[1].set_exception(ServerStopped())
        self.write()
