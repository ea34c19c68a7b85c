"""Strict reading of a judge model's reply: one JSON object of the form asked for, or no score.

Nothing is searched for in prose and nothing is repaired. A reply that is fenced, cut off, doubled,
of another type, without the question's nonce or with one verdict too many is unreadable.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

from tunegate.harness.contracts.judge import VERDICTS, JudgeQuestion, ParsedReply
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.hashing import canonical_json
from tunegate.harness.records.record import replace_surrogates

LONGEST = 200_000
"""Longest reply that is read, in characters."""


class UnreadableReply(ValueError):
    """A reply that does not have the form asked for."""


def parse_reply(question: JudgeQuestion, completion: Completion) -> ParsedReply:
    """Return a judge model's reply.

    Raises:
        UnreadableReply: why it cannot be used.
    """
    if completion.choice_logprobs is not None:
        return _reply_of_logprobs(question, completion.choice_logprobs)
    text = completion.text or ""
    if not text.strip():
        raise UnreadableReply("the reply is empty")
    if completion.finish_reason == "length":
        raise UnreadableReply("the reply was cut off at its token limit")
    if len(text) > LONGEST:
        raise UnreadableReply(f"the reply has {len(text)} characters, more than {LONGEST}")
    value = _parse_json(text)
    if not isinstance(value, dict):
        raise UnreadableReply(f"the reply is not a JSON object: {_short(text)}")
    _check(question, value)
    fields = {name: _coerce_value(value[name], form) for name, form in question.fields.items()}
    return ParsedReply(fields, question.choice)


def _coerce_value(value: Any, form: Mapping[str, Any]) -> Any:
    """Return a value as the question spells it: 4.0 is the verdict 4."""
    allowed = form.get("enum")
    return replace_surrogates(value) if allowed is None else allowed[allowed.index(value)]


def _reply_of_logprobs(question: JudgeQuestion, logprobs: tuple[float, ...]) -> ParsedReply:
    """Return a local model's reply, from the log-probabilities of its verdicts."""
    labels = question.labels
    if len(labels) != len(logprobs) or not labels:
        raise UnreadableReply(f"{len(logprobs)} probabilities for {len(labels)} verdicts")
    top = max(logprobs)
    odds = [math.exp(value - top) for value in logprobs]
    weights = {label: o / sum(odds) for label, o in zip(labels, odds, strict=True)}
    choice = question.choice or ""
    likeliest = max(weights, key=lambda label: weights[label])
    value = question.fields[choice]["enum"][labels.index(likeliest)]
    return ParsedReply({choice: value}, choice, weights)


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError:
        raise UnreadableReply("the reply is nested too deeply") from None
    except UnreadableReply:
        raise
    except ValueError as error:
        raise UnreadableReply(f"the reply is not JSON alone ({error}): {_short(text)}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise UnreadableReply(f"the key {twice!r} is in the reply twice")
    return fields


def _refuse_constant(name: str) -> Any:
    raise UnreadableReply(f"{name} is not a JSON number")


def _check(question: JudgeQuestion, value: Mapping[str, Any]) -> None:
    if value.get("nonce") != question.nonce:
        raise UnreadableReply(f"the reply's nonce is not {question.nonce!r}")
    body = {"type": "object", "additionalProperties": False, "properties": dict(question.fields),
            "required": list(question.fields)}  # fmt: skip
    rest = {name: item for name, item in value.items() if name != "nonce"}
    error = next(iter(_validator(canonical_json(body)).iter_errors(rest)), None)
    if error is not None:
        place = ".".join(map(str, error.absolute_path))
        raise UnreadableReply(f"{place}: {_short(error.message)}" if place else error.message[:300])
    if question.verdicts:
        numbers = [item["number"] for item in value[VERDICTS]]
        if numbers != list(range(1, question.verdicts + 1)):
            raise UnreadableReply(
                f"the verdicts are numbered {_short(str(numbers))}, not 1 to {question.verdicts}"
            )


@cache
def _validator(schema: str) -> Any:
    """Return the validator of a schema; the nonce differs in every question and is left out."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:119]}…"
