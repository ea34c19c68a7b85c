"""Answers to the requests of an arm behind a network, from a pool of threads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from tunegate.harness.contracts.model import PoolLimits, Request
from tunegate.harness.models.remote.request_pool import QuestionFeed, complete_all
from tunegate.harness.records.answers import GENERATED, Completion, StoredAnswer


def answer_requests(
    requests: Sequence[Request],
    more: Callable[[], Sequence[Request]] | None,
    ask: Callable[[Request, float], Completion],
    limits: PoolLimits,
    *,
    backend: str,
) -> Generator[StoredAnswer, None, None]:
    """Yield one answer a request as they come, those to what `more` returns meanwhile included."""
    answers = complete_all(
        QuestionFeed(requests, more), ask, limits, cost_of=_estimate_tokens, backend=backend
    )
    with closing(answers):
        for a in answers:
            yield StoredAnswer.of(a.question.cell, a.completion, a.error, a.started_s)


def _estimate_tokens(request: Request) -> float:
    """Estimate the tokens that a request takes, read and written."""
    written = request.generation.most_tokens if request.kind in GENERATED else 0
    return request.prompt.length + written
