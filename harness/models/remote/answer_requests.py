"""Answers to the requests of an arm behind a network, from a pool of threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace

from tunegate.harness.contracts.model import PoolLimits, Request
from tunegate.harness.models.remote.failures import RequestFailure
from tunegate.harness.models.remote.request_pool import QuestionFeed, ask_all
from tunegate.harness.records.answers import GENERATED, StoredAnswer


def answer_requests(
    requests: Sequence[Request],
    more: Callable[[], Sequence[Request]] | None,
    ask: Callable[[Request, float], StoredAnswer],
    limits: PoolLimits,
    *,
    backend: str,
) -> Generator[StoredAnswer, None, None]:
    """Yield one answer a request as they come, those to what `more` returns meanwhile included."""
    answers = ask_all(
        QuestionFeed(requests, more),
        ask,
        limits,
        cost_of=estimate_tokens,
        backend=backend,
        counted=_with_attempts,
    )
    with closing(answers):
        for request, result in answers:
            if isinstance(result, RequestFailure):
                yield StoredAnswer.of(request.cell, None, result.message, time.time())
            else:
                yield result


def estimate_tokens(request: Request) -> float:
    """Estimate the tokens that a request takes, read and written."""
    written = request.generation.most_tokens if request.kind in GENERATED else 0
    return request.prompt.length + written


def _with_attempts(answer: StoredAnswer, attempts: int) -> StoredAnswer:
    if answer.completion is None:
        return answer
    completion = answer.completion.model_copy(update={"attempts": attempts})
    return replace(answer, completion=completion)
