"""Local engine: answers a batch of requests with a model in this process.

Requests of one kind arrive together; each answer is yielded as soon as it is known, so that the
store never loses a finished one. A prompt that does not fit the model's context is an error of its
case, never a silent truncation.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tunegate.harness.contracts.decoding import decode_completion, timed_thoughts
from tunegate.harness.contracts.free_memory import return_freed_memory
from tunegate.harness.contracts.model import LocalArm, Request
from tunegate.harness.engine.inference import loglikelihood
from tunegate.harness.engine.inference.continuous_batching import decode_sequences
from tunegate.harness.engine.inference.packed_weights import packed_weights
from tunegate.harness.engine.inference.sequence import DecodingSequence, start_sequence
from tunegate.harness.engine.inference.speculative import AnswerDraft, KnownAnswer, draft_ids
from tunegate.harness.engine.optimizations import ALL, Optimizations
from tunegate.harness.models._continuations import continuation_ids
from tunegate.harness.records.answers import GENERATED, CellKind, Completion, StoredAnswer
from tunegate.harness.records.errors import OutOfMemory

NewRequests = Callable[[], Sequence[Request]]
"""Returns the requests that came since it was last called; all are texts to be written."""


def complete_requests(
    arm: LocalArm,
    requests: Sequence[Request],
    drafts: Mapping[str, KnownAnswer] = MappingProxyType({}),
    optimizations: Optimizations = ALL,
    more: NewRequests = tuple,
) -> Iterator[StoredAnswer]:
    """Yield an answer for each request.

    Args:
        arm: The arm.
        requests: Requests of one kind.
        drafts: Request key → what another arm answered, to be verified instead of decoded; the
            result is the same without it.
        optimizations: Which of the engine's optimizations are on.
        more: Called between the steps of texts that are written: the requests that it returns
            enter the running batch. `drafts` is looked up when they do.
    """
    continuations: dict[str, list[tuple[int, ...]]] = {}
    fitting = []
    for request in requests:
        try:
            continuations[request.key] = continuation_ids(arm.tokenizer, request)
            _refuse_misfit(arm, request, continuations[request.key])
            fitting.append(request)
        except ValueError as error:
            yield _misfit(request, error)
    if not fitting:
        fitting = list(more())
    if not fitting:
        return
    with computing(arm) as model:
        if fitting[0].kind in GENERATED:
            yield from _generate(_WrittenRows(arm, drafts), model, fitting, optimizations, more)
        elif fitting[0].kind is CellKind.TEXT:
            yield from _read(arm, model, fitting, optimizations)
        else:
            yield from _score(arm, model, fitting, continuations, optimizations)


@contextmanager
def computing(arm: LocalArm) -> Iterator[Any]:
    """Yield the torch model switched to an arm, its matrices packed where that pays."""
    with memory_watched(), arm.active() as model, packed_weights(model):
        yield model


@contextmanager
def memory_watched() -> Iterator[None]:
    """Turn whatever torch raises when memory does not suffice into OutOfMemory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if _is_memory(error):
            raise OutOfMemory(str(error)) from error
        raise


def _refuse_misfit(arm: LocalArm, request: Request, texts: Sequence[Sequence[int]]) -> None:
    """Raise ValueError if prompt and answer do not fit the model's context."""
    length = len(request.prompt.token_ids or ())
    if not length:
        raise ValueError("the prompt is empty after tokenising")
    if request.kind is CellKind.TEXT:
        return  # a text longer than the context is read in windows
    if request.kind in GENERATED:
        needed = length + request.generation.most_tokens
    else:
        needed = length + max((len(ids) for ids in texts), default=0)
    limit = arm.context_length
    if limit is not None and needed > limit:
        raise ValueError(
            f"{needed} tokens do not fit the model's context of {limit}; shorten the prompt"
        )


def _misfit(request: Request, error: ValueError) -> StoredAnswer:
    return StoredAnswer.of(request.cell, None, str(error), time.time())


@dataclass
class _WrittenRows:
    """Requests as rows of the batch, and when each of them began."""

    arm: LocalArm
    drafts: Mapping[str, KnownAnswer]
    began: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    """Request key → time of day, clock, and how many requests were in the batch."""
    misfits: deque[StoredAnswer] = field(default_factory=deque)
    """Answers to requests that do not fit the model's context."""

    def start(self, requests: Sequence[Request]) -> list[DecodingSequence]:
        """Return a row for each request that fits."""
        rows = []
        for request in requests:
            try:
                _refuse_misfit(self.arm, request, ())
            except ValueError as error:
                self.misfits.append(_misfit(request, error))
                continue
            draft = self.drafts.get(request.key)
            rows.append(start_sequence(request, _draft(self.arm, draft)))
        now, clock, size = time.time(), time.perf_counter(), len(self.began) + len(rows)
        self.began |= {row.request.key: (now, clock, size) for row in rows}
        return rows

    def finish(self, row: DecodingSequence) -> StoredAnswer:
        """Return a finished row's answer."""
        started, clock, size = self.began.pop(row.request.key)
        completion = _completion(self.arm, row, clock, size)
        return StoredAnswer.of(row.request.cell, completion, None, started)


def _generate(
    written: _WrittenRows,
    model: Any,
    requests: Sequence[Request],
    optimizations: Optimizations,
    more: NewRequests,
) -> Iterator[StoredAnswer]:
    """Yield the answers that are written.

    Afterwards the cache's memory goes back to the system, since the next batch needs another size.
    Timed questions keep it.
    """
    rows = written.start(requests)

    def later() -> list[DecodingSequence]:
        return written.start(more())

    try:
        while rows or written.misfits:
            for row in decode_sequences(written.arm, model, rows, optimizations, later):
                yield written.finish(row)
                while written.misfits:
                    yield written.misfits.popleft()
            while written.misfits:
                yield written.misfits.popleft()
            rows = later()
    finally:
        if requests[0].kind is not CellKind.LATENCY:
            return_freed_memory()


def _draft(arm: LocalArm, answer: KnownAnswer | None) -> AnswerDraft | None:
    return (
        None
        if answer is None
        else AnswerDraft(draft_ids(arm, answer.completion), answer.acceptance)
    )


def _completion(arm: LocalArm, row: DecodingSequence, clock: float, batch_size: int) -> Completion:
    """Return what a row wrote since the clock had this time."""
    request, seconds = row.request, time.perf_counter() - clock
    fields = decode_completion(
        arm.tokenizer, row.token_ids, request.generation, prompt=request.prompt.text
    )
    for stop in request.generation.stop:
        fields["text"] = fields["text"].partition(stop)[0]
    seconds_of = [round(at - clock, 6) for at in row.written_at]
    return Completion(
        finish_reason=row.finish_reason,
        input_tokens=len(request.prompt.token_ids or ()),
        output_tokens=len(row.token_ids),
        latency_s=round(seconds, 6),
        batch_size=batch_size,
        **timed_thoughts(fields, seconds_of),
    )


def _score(
    arm: LocalArm,
    model: Any,
    requests: Sequence[Request],
    continuations: Mapping[str, Sequence[tuple[int, ...]]],
    optimizations: Optimizations,
) -> Iterator[StoredAnswer]:
    started, clock = time.time(), time.perf_counter()
    wanted = [
        loglikelihood.Continuation(row, ids)
        for row, request in enumerate(requests)
        for ids in continuations[request.key]
    ]
    sums = loglikelihood.score_continuations(
        arm, model, [r.prompt for r in requests], wanted, optimizations
    )
    seconds = time.perf_counter() - clock
    for row, request in enumerate(requests):
        mine = [(s, c.token_ids) for s, c in zip(sums, wanted, strict=True) if c.row == row]
        fields: dict[str, Any]
        if request.kind is CellKind.CHOICES:
            fields = {"choice_logprobs": tuple(s for s, _ in mine)}
        else:
            # Several right answers: the likeliest one counts.
            fields = {"answer_logprob": max(s / len(ids) for s, ids in mine)}
        completion = Completion(
            input_tokens=len(request.prompt.token_ids or ()),
            latency_s=round(seconds, 6),
            **fields,
        )
        yield StoredAnswer.of(request.cell, completion, None, started)


def _read(
    arm: LocalArm, model: Any, requests: Sequence[Request], optimizations: Optimizations
) -> Iterator[StoredAnswer]:
    started, clock = time.time(), time.perf_counter()
    scores = loglikelihood.bits_per_byte(
        arm, model, [request.prompt for request in requests], optimizations
    )
    seconds = time.perf_counter() - clock
    for request, bits in zip(requests, scores, strict=True):
        completion = Completion(
            input_tokens=len(request.prompt.token_ids or ()),
            latency_s=round(seconds, 6),
            bits_per_byte=bits,
        )
        yield StoredAnswer.of(request.cell, completion, None, started)


def _is_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text
