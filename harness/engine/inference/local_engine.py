"""Local engine: answers a batch of requests with a model in this process.

Requests of one kind arrive together; each answer is yielded as soon as it is known, so that the
store never loses a finished one. A prompt that does not fit the model's context is an error of its
case, never a silent truncation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from tunegate.harness.engine.inference import loglikelihood
from tunegate.harness.engine.inference.continuous_batching import decode_sequences
from tunegate.harness.engine.inference.sequence import DecodingSequence, start_sequence
from tunegate.harness.engine.inference.speculative import AnswerDraft, KnownAnswer, draft_ids
from tunegate.harness.engine.scheduling import ALL, Optimizations
from tunegate.harness.errors import OutOfMemory
from tunegate.harness.model import LocalArm, Request
from tunegate.harness.models._chat_template import continuation_ids
from tunegate.harness.records.cases import CellKind, Completion, StoredAnswer
from tunegate.harness.thinking import decode_completion


def complete_requests(
    arm: LocalArm,
    requests: Sequence[Request],
    known: Mapping[str, KnownAnswer] = MappingProxyType({}),
    levers: Optimizations = ALL,
) -> Iterator[StoredAnswer]:
    """Yield an answer for each request.

    Args:
        arm: The arm.
        requests: Requests of one kind.
        known: Request key → what another arm answered, to be verified instead of decoded; the
            result is the same without it.
        levers: Which of the engine's levers are on.

    Raises:
        OutOfMemory: the machine's memory did not hold the batch.
    """
    asked: dict[str, list[tuple[int, ...]]] = {}
    fitting = []
    for request in requests:
        try:
            asked[request.key] = continuation_ids(arm.tokenizer, request)
            _refuse_misfit(arm, request, asked[request.key])
            fitting.append(request)
        except ValueError as error:
            yield StoredAnswer.of(request.cell, None, str(error), time.time())
    if not fitting:
        return
    with memory_watched(), arm.active() as model:
        if fitting[0].kind in (CellKind.GENERATE, CellKind.LATENCY):
            yield from _generate(arm, model, fitting, known, levers)
        elif fitting[0].kind is CellKind.TEXT:
            yield from _read(arm, model, fitting, levers)
        else:
            yield from _score(arm, model, fitting, asked, levers)


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
    """Raise ValueError if the model cannot be asked this without cutting something off."""
    length = len(request.prompt.token_ids or ())
    if not length:
        raise ValueError("the prompt is empty after tokenising")
    if request.kind is CellKind.TEXT:
        return  # a text longer than the context is read in windows
    if request.kind in (CellKind.GENERATE, CellKind.LATENCY):
        needed = length + request.generation.most_tokens
    else:
        needed = length + max((len(ids) for ids in texts), default=0)
    limit = arm.context_length
    if limit is not None and needed > limit:
        raise ValueError(
            f"{needed} tokens do not fit the model's context of {limit}; shorten the prompt"
        )


def _generate(
    arm: LocalArm,
    model: Any,
    requests: Sequence[Request],
    known: Mapping[str, KnownAnswer],
    levers: Optimizations,
) -> Iterator[StoredAnswer]:
    started, clock = time.time(), time.perf_counter()
    rows = [start_sequence(request, _draft(arm, known.get(request.key))) for request in requests]
    for row in decode_sequences(arm, model, rows, levers):
        completion = _completion(arm, row, time.perf_counter() - clock, len(requests))
        yield StoredAnswer.of(row.request.cell, completion, None, started)


def _draft(arm: LocalArm, known: KnownAnswer | None) -> AnswerDraft | None:
    return None if known is None else AnswerDraft(draft_ids(arm, known.completion), known.watch)


def _completion(
    arm: LocalArm, row: DecodingSequence, seconds: float, batch_size: int
) -> Completion:
    request = row.request
    fields = decode_completion(
        arm.tokenizer, row.token_ids, request.generation, prompt=request.prompt.text
    )
    for stop in request.generation.stop:
        fields["text"] = fields["text"].partition(stop)[0]
    return Completion(
        finish_reason=row.finish_reason,
        input_tokens=len(request.prompt.token_ids or ()),
        output_tokens=len(row.token_ids),
        latency_s=round(seconds, 6),
        batch_size=batch_size,
        **fields,
    )


def _score(
    arm: LocalArm,
    model: Any,
    requests: Sequence[Request],
    asked: Mapping[str, Sequence[tuple[int, ...]]],
    levers: Optimizations,
) -> Iterator[StoredAnswer]:
    started, clock = time.time(), time.perf_counter()
    wanted = [
        loglikelihood.Continuation(row, ids)
        for row, request in enumerate(requests)
        for ids in asked[request.key]
    ]
    sums = loglikelihood.score_continuations(
        arm, model, [r.prompt for r in requests], wanted, levers
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
    arm: LocalArm, model: Any, requests: Sequence[Request], levers: Optimizations
) -> Iterator[StoredAnswer]:
    started, clock = time.time(), time.perf_counter()
    found = loglikelihood.bits_per_byte(
        arm, model, [request.prompt for request in requests], levers
    )
    seconds = time.perf_counter() - clock
    for request, bits in zip(requests, found, strict=True):
        completion = Completion(
            input_tokens=len(request.prompt.token_ids or ()),
            latency_s=round(seconds, 6),
            bits_per_byte=bits,
        )
        yield StoredAnswer.of(request.cell, completion, None, started)


def _is_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text
