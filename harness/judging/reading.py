"""Strict reading of a judge's own reply: one JSON object of the form asked for, or no score.

Nothing is searched for in prose and nothing is mended. A reply that is fenced, cut, doubled, of
another type, without the question's nonce or with a verdict too many is unreadable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from harness import json_schema
from harness.judge import Question, Reply
from harness.records import Completion, canonical_json, readable

LONGEST = 200_000
"""Characters of a reply beyond which nothing is read."""


class UnreadableReply(ValueError):
    """A reply that is not of the form asked for."""


def read(question: Question, completion: Completion) -> Reply:
    """Return a judge model's reply.

    Raises:
        UnreadableReply: in words, why it is none.
    """
    if completion.choice_logprobs is not None:
        return _weighed(question, completion.choice_logprobs)
    text = completion.text or ""
    if not text.strip():
        raise UnreadableReply("the reply is empty")
    if completion.finish_reason == "length":
        raise UnreadableReply("the reply was cut at its token limit")
    if len(text) > LONGEST:
        raise UnreadableReply(f"the reply has {len(text)} characters, more than {LONGEST}")
    value = _parsed(text)
    if not isinstance(value, dict):
        raise UnreadableReply(f"the reply is no JSON object: {_short(text)}")
    _check(question, value)
    fields = {name: _as_asked(value[name], form) for name, form in question.fields.items()}
    return Reply(fields, question.choice)


def _as_asked(value: Any, form: Mapping[str, Any]) -> Any:
    """Return a value as the question spells it: JSON's 4.0 is the verdict 4."""
    allowed = form.get("enum")
    return readable(value) if allowed is None else allowed[allowed.index(value)]


def _weighed(question: Question, logprobs: tuple[float, ...]) -> Reply:
    """Return the reply of a local model: the probabilities of the verdicts it could give."""
    import math

    labels = question.labels
    if len(labels) != len(logprobs) or not labels:
        raise UnreadableReply(f"{len(logprobs)} probabilities for {len(labels)} verdicts")
    top = max(logprobs)
    odds = [math.exp(value - top) for value in logprobs]
    weights = {label: o / sum(odds) for label, o in zip(labels, odds, strict=True)}
    choice = question.choice or ""
    likeliest = max(weights, key=lambda label: weights[label])
    value = question.fields[choice]["enum"][labels.index(likeliest)]
    return Reply({choice: value}, choice, weights)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise UnreadableReply("the reply is nested too deeply") from None
    except UnreadableReply:
        raise
    except ValueError as error:
        raise UnreadableReply(f"the reply is not JSON alone ({error}): {_short(text)}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnreadableReply(f"the key {twice!r} stands in the reply twice")
    return found


def _refuse(name: str) -> Any:
    raise UnreadableReply(f"{name} is no number of JSON")


def _check(question: Question, value: Mapping[str, Any]) -> None:
    if value.get("nonce") != question.nonce:
        raise UnreadableReply(f"the reply's nonce is not {question.nonce!r}")
    body = {"type": "object", "additionalProperties": False, "properties": dict(question.fields),
            "required": list(question.fields)}  # fmt: skip
    rest = {name: item for name, item in value.items() if name != "nonce"}
    error = next(iter(_validator(canonical_json(body)).iter_errors(rest)), None)
    if error is not None:
        place = ".".join(map(str, error.absolute_path))
        raise UnreadableReply(f"{place}: {_short(error.message)}" if place else error.message[:300])


@cache
def _validator(schema: str) -> Any:
    """Return the validator of a schema without the nonce, which is another in each question."""
    return json_schema.library().Draft202012Validator(json.loads(schema))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:119]}…"
