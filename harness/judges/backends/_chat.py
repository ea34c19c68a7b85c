"""Chat backends: concurrent requests to a chat API under a deadline and rate limits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

from tunegate.harness.contracts.judge import JudgeAnswer, JudgeQuestion
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.remote.failures import RequestFailure
from tunegate.harness.models.remote.request_pool import ask_all
from tunegate.harness.records.answers import Completion, reported_amount

MOST_TOKENS = 2000
"""Most tokens of a reply; reason and verdict take a tenth."""


def question_messages(question: JudgeQuestion) -> list[dict[str, str]]:
    """Return the conversation that asks a question."""
    return [
        {"role": "system", "content": question.system},
        {"role": "user", "content": question.text},
    ]


def schema_of(question: JudgeQuestion) -> dict[str, Any]:
    """Return the reply's schema in OpenAI's form, without keys that strict decoders refuse."""
    schema = question.schema
    properties = {name: _plain(form) for name, form in schema["properties"].items()}
    return {
        "type": "json_schema",
        "json_schema": {
            "name": "reply",
            "strict": True,
            "schema": {**schema, "properties": properties},
        },
    }


def read_chat_completion(body: Mapping[str, Any]) -> Completion | None:
    """Return the text and tokens of a chat completion; None if it is something else."""
    try:
        choice, usage = body["choices"][0], body.get("usage") or {}
        return Completion(
            text=choice["message"]["content"],
            finish_reason=choice.get("finish_reason"),
            input_tokens=reported_amount(usage.get("prompt_tokens")),
            output_tokens=reported_amount(usage.get("completion_tokens")),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        return None


def estimate_tokens(question: JudgeQuestion) -> float:
    """Estimate the tokens of a question and its reply."""
    return (len(question.system) + len(question.text)) / 4 + 200


def spread_questions(
    questions: Mapping[str, JudgeQuestion], *, lag: int
) -> Iterator[tuple[str, JudgeQuestion]]:
    """Order questions so that the first one about a source is answered before the others.

    A provider caches a beginning once its reply has started; questions about the same source that
    run concurrently are each computed, and charged, in full.

    Args:
        questions: Taken one by one, since the run may be stopped.
        lag: Questions to ask between the first one about a source and the others.
    """
    first: dict[tuple[str, str], int] = {}
    waiting: deque[tuple[int, tuple[str, JudgeQuestion]]] = deque()
    asked = 0
    for pair in questions.items():
        beginning = pair[1].beginning
        if pair[1].shared_text and beginning in first:
            waiting.append((first[beginning] + lag, pair))
        else:
            first.setdefault(beginning, asked)
            yield pair
            asked += 1
        while waiting and waiting[0][0] < asked:
            yield waiting.popleft()[1]
            asked += 1
    if asked + len(waiting) == len(questions):  # otherwise the run was stopped
        yield from (pair for _, pair in waiting)


def ask_questions(
    questions: Iterable[tuple[str, JudgeQuestion]],
    ask: Callable[[JudgeQuestion, float], Completion],
    limits: PoolLimits,
    *,
    cost_of: Callable[[JudgeQuestion], float],
    backend: str,
) -> Generator[JudgeAnswer, None, None]:
    """Yield an answer for each question from a pool of threads; a failure is an error in words.

    The questions are taken one by one, since the run may be stopped.

    Raises:
        BackendError: the judge as a whole is gone.
    """

    def timed(item: tuple[str, JudgeQuestion], deadline: float) -> tuple[Completion, float]:
        begun, started = time.time(), time.monotonic()
        completion = ask(item[1], deadline)
        return completion.model_copy(update={"latency_s": time.monotonic() - started}), begun

    pool = ask_all(
        iter(questions),
        timed,
        limits,
        cost_of=lambda item: cost_of(item[1]),
        backend=backend,
        counted=_count_requests,
    )
    try:
        for (key, _), result in pool:
            if isinstance(result, RequestFailure):
                yield JudgeAnswer(key, None, result.message, time.time(), result.attempts)
            else:
                completion, begun = result
                yield JudgeAnswer(key, completion, None, begun, completion.attempts or 1)
    finally:
        pool.close()


def _count_requests(result: tuple[Completion, float], asked: int) -> tuple[Completion, float]:
    """Return a result with all requests that it took."""
    completion, begun = result
    requests = (completion.attempts or 1) + asked - 1
    return completion.model_copy(update={"attempts": requests}), begun


def _plain(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field's schema without length limits, which are checked when the reply is read."""
    kept = {n: v for n, v in form.items() if n not in ("minLength", "maxLength", "maxItems")}
    if "items" in kept:
        kept["items"] = _plain(kept["items"])
    if "properties" in kept:
        kept["properties"] = {name: _plain(own) for name, own in kept["properties"].items()}
    if "enum" in kept:
        kept["type"] = "integer" if isinstance(kept["enum"][0], int) else "string"
    return kept
