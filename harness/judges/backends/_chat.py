"""Judge questions to a chat API: what is sent, in which order, and the answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from tunegate.harness.contracts.judge import JudgeAnswer, JudgeQuestion
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.remote.request_pool import complete_all
from tunegate.harness.records.answers import Completion

MOST_TOKENS = 2000
"""Most tokens of a reply; reason and verdict take a tenth."""


def question_messages(question: JudgeQuestion) -> list[dict[str, Any]]:
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
    sent = 0
    for pair in questions.items():
        beginning = pair[1].beginning
        if pair[1].shared_text and beginning in first:
            waiting.append((first[beginning] + lag, pair))
        else:
            first.setdefault(beginning, sent)
            yield pair
            sent += 1
        while waiting and waiting[0][0] < sent:
            yield waiting.popleft()[1]
            sent += 1
    if sent + len(waiting) == len(questions):  # otherwise the run was stopped
        yield from (pair for _, pair in waiting)


def ask_questions(
    questions: Iterable[tuple[str, JudgeQuestion]],
    ask: Callable[[JudgeQuestion, float], Completion],
    limits: PoolLimits,
    *,
    backend: str,
) -> Generator[JudgeAnswer, None, None]:
    """Yield an answer for each question; a failure is an error in words.

    The questions are taken one by one, since the run may be stopped.

    Raises:
        BackendError: the judge as a whole is gone.
    """
    answers = complete_all(
        questions,
        lambda pair, deadline: ask(pair[1], deadline),
        limits,
        # Tokens: four characters each, and replies far below their limit.
        cost_of=lambda pair: (len(pair[1].system) + len(pair[1].text)) / 4 + MOST_TOKENS / 10,
        backend=backend,
    )
    with closing(answers):
        for a in answers:
            yield JudgeAnswer(a.question[0], a.completion, a.error, a.started_s, a.requests)


def _plain(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field's schema without length limits, which are checked when the reply is read."""
    kept = {n: v for n, v in form.items() if n not in ("minLength", "maxLength", "maxItems")}
    if "items" in kept:
        kept["items"] = _plain(kept["items"])
    if "properties" in kept:
        kept["properties"] = {name: _plain(schema) for name, schema in kept["properties"].items()}
    if "enum" in kept:
        kept["type"] = "integer" if isinstance(kept["enum"][0], int) else "string"
    return kept
