"""Batch server: one thread that answers requests of many clients in one running batch.

A request that comes while others are answered enters the batch between two steps. Arms that share a
load cannot share a forward, since the adapter is on or off for all rows: the arm with the oldest
request is served, and once another arm has waited too long, no more requests enter until its turn.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field

from tunegate.harness.contracts.model import Arm, JoinableArm, LocalArm, Prompt, Request
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.episodes.play import TurnStore
from tunegate.harness.records.answers import Cell, CellKind, StoredAnswer
from tunegate.harness.records.errors import OutOfMemory
from tunegate.harness.records.hashing import sha256
from tunegate.harness.serving.chat_requests import TOO_LONG, ChatRequest, RequestRefused

PATIENCE_S = 2.0
"""Seconds that an arm waits while requests for another one keep coming."""


class ServerStopped(Exception):
    """The server stopped before it answered."""


@dataclass(slots=True)
class _WaitingRequest:
    arm: str
    request: Request
    answer: Future[StoredAnswer]
    since: float = field(default_factory=time.monotonic)


@dataclass
class BatchServer:
    """Arms, and the requests to them."""

    arms: Mapping[str, Arm]
    seed: int = 0
    turns: TurnStore | None = None
    """Store of answers: a client that runs again gets them from there."""
    _came: queue.SimpleQueue[_WaitingRequest | None] = field(default_factory=queue.SimpleQueue)
    _waiting: deque[_WaitingRequest] = field(default_factory=deque)
    _asked: dict[str, _WaitingRequest] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)
    """How often a request without a seed was asked."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Guards tokenizers, which serve one thread at a time, and the counts."""
    _stopped: bool = False

    def __post_init__(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._serve, name="tunegate-serve", daemon=True)
        self._thread.start()

    def ask(self, chat: ChatRequest) -> StoredAnswer:
        """Wait for the answer to a request and return it."""
        request = self._request(chat)
        if self.turns is not None and (stored := self.turns.completions([request.key])):
            return StoredAnswer.of(request.cell, stored[request.key], None, 0.0)
        waiting = _WaitingRequest(chat.arm, request, Future())
        if self._stopped:
            raise ServerStopped
        self._came.put(waiting)
        answer = waiting.answer.result()
        if self.turns is not None and answer.completion is not None:
            self.turns.put(answer)
        return answer

    def render(self, chat: ChatRequest) -> Prompt:
        """Return the prompt that a request becomes."""
        arm = self.arms[chat.arm]
        _refuse_long(chat, getattr(arm, "context_length", None))
        with self._lock:
            try:
                return arm.prompt(chat.talk, chat.generation)
            except ValueError as error:
                raise RequestRefused(str(error)) from error

    def stop(self) -> None:
        """Stop within a step of the model; requests without an answer fail."""
        self._stopped = True
        self._came.put(None)
        self._thread.join(timeout=60)

    def _request(self, chat: ChatRequest) -> Request:
        """Return a request with the caller's seed, or another one each time it is asked."""
        arm, prompt = self.arms[chat.arm], self.render(chat)
        with self._lock:
            # The conversation, too: servers render it, so equal prompts here prove nothing.
            talk = sha256(chat.talk.model_dump(mode="json", exclude_none=True))
            settings = chat.generation.model_dump(mode="json")
            same = sha256([chat.arm, prompt.sha256, talk, settings])
            self._counts[same] += 1
            count = self._counts[same]
        seed = chat.seed
        if seed is None:
            # Samples of a task begin alike, and clients do not number them.
            seed = int(sha256([self.seed, prompt.sha256, count])[:8], 16)
        cell = Cell(
            suite="serve",
            case=chat.talk.id,
            arm=chat.arm,
            kind=CellKind.GENERATE,
            key=sha256(["served", arm.fingerprint, same, seed, count]),
        )
        return Request(cell, chat.talk, prompt, chat.generation, seed % 2**63)

    def _serve(self) -> None:
        while not self._stopped:
            self._receive(wait=not self._waiting)
            if self._waiting:
                self._answer(self._waiting[0].arm)
        self._receive(wait=False)
        for request in (*self._waiting, *self._asked.values()):
            request.answer.set_exception(ServerStopped())

    def _receive(self, *, wait: bool) -> None:
        """Move what came to the waiting requests."""
        with suppress(queue.Empty):
            came = self._came.get() if wait else self._came.get_nowait()
            while True:
                if came is not None:
                    self._waiting.append(came)
                came = self._came.get_nowait()

    def _take(self, arm: str) -> list[Request]:
        """Take the waiting requests of an arm."""
        taken = [request for request in self._waiting if request.arm == arm]
        self._waiting = deque(request for request in self._waiting if request.arm != arm)
        self._asked |= {request.request.key: request for request in taken}
        return [request.request for request in taken]

    def _later(self, arm: str) -> list[Request]:
        """Return new requests for the arm being served; none if another has waited too long."""
        if self._stopped:
            raise ServerStopped
        self._receive(wait=False)
        others = [request.since for request in self._waiting if request.arm != arm]
        if others and time.monotonic() - min(others) > PATIENCE_S:
            return []
        return self._take(arm)

    def _answer(self, arm: str) -> None:
        """Answer all waiting requests of an arm; one by one if memory runs out."""
        requests = self._take(arm)
        try:
            try:
                self._hand_back(self._answers(arm, requests))
            except OutOfMemory:
                self._answer_alone(arm)
        except ServerStopped:
            return
        except Exception as error:  # one failure must not end the server
            for key in list(self._asked):
                self._asked.pop(key).answer.set_exception(error)

    def _answer_alone(self, arm: str) -> None:
        """Answer the requests in progress one by one; fail those that memory does not hold."""
        for request in [waiting.request for waiting in self._asked.values()]:
            try:
                self._hand_back(self._answers(arm, [request], alone=True))
            except OutOfMemory as error:
                self._asked.pop(request.key).answer.set_exception(error)

    def _hand_back(self, answers: Iterator[StoredAnswer]) -> None:
        with closing(answers):  # type: ignore[type-var]  # all of them are generators
            for answer in answers:
                self._asked.pop(answer.key).answer.set_result(answer)
                if self._stopped:
                    raise ServerStopped

    def _answers(
        self, arm: str, requests: list[Request], *, alone: bool = False
    ) -> Iterator[StoredAnswer]:
        backend = self.arms[arm]
        if isinstance(backend, JoinableArm) and not alone:
            yield from backend.complete_joined(requests, lambda: self._later(arm))
        elif not isinstance(backend, LocalArm):
            yield from backend.complete(requests)
        elif alone:
            yield from local_engine.complete_requests(backend, requests)
        else:
            yield from local_engine.complete_requests(
                backend, requests, more=lambda: self._later(arm)
            )


_LONGEST_TOKEN = 1_000
"""Characters that no token exceeds."""


def _refuse_long(chat: ChatRequest, context: int | None) -> None:
    """Refuse a prompt that cannot fit before spending minutes on its tokens."""
    length = sum(len(str(turn.get("content"))) for turn in chat.talk.input_messages())
    if context is not None and length > context * _LONGEST_TOKEN:
        raise RequestRefused(
            f"the prompt has {length:,} characters and the model's context {context:,} tokens",
            code=TOO_LONG,
        )
