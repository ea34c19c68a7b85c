"""Replies of OpenAI-compatible servers: completions, usage and log-probabilities."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.reasoning import message_thoughts
from tunegate.harness.models.remote.chat_message import UnansweredMessage, text_of
from tunegate.harness.models.remote.failures import PermanentError, RetryableError
from tunegate.harness.records.answers import reported_amount
from tunegate.harness.records.wording import count_noun


@dataclass(frozen=True, slots=True)
class ServerCompletion:
    """A completion as the server gives it."""

    text: str
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    reasoning: str | None = None
    """The thoughts, where the server separates them."""
    reasoning_tokens: int | None = None
    model: str | None = None
    """The model that answered, by the server's report."""
    calls_tools: bool = False


def parse_completion(reply: Mapping[str, Any]) -> ServerCompletion:
    """Read a reply of `/completions` or `/chat/completions`."""
    choice = ordered_choices(reply, 1)[0]
    message, ended = choice.get("message"), choice.get("finish_reason")
    if ended == "content_filter":
        raise PermanentError("a content filter withheld the answer", whole=False)
    if choice.get("error") or ended == "error":
        raise RetryableError(f"the reply is an error: {str(choice.get('error'))[:80]}")
    try:
        text = text_of(as_object(message)) if message is not None else choice.get("text")
    except UnansweredMessage as error:
        raise RetryableError(str(error)) from error
    if text is None and isinstance(message, dict):
        if message_thoughts(message) is None and reasoning_usage(reply) is None:
            why = f"no answer: the reply's content is null (finish reason {ended or 'unknown'})"
            raise PermanentError(why, whole=False)
        text = ""  # all of it is thoughts
    if not isinstance(text, str):
        raise RetryableError(f"the reply has {str(text)[:80]!r} instead of a text")
    model = reply.get("model")
    return ServerCompletion(
        text,
        ended if isinstance(ended, str) else None,
        token_usage(reply, "prompt_tokens"),
        token_usage(reply, "completion_tokens"),
        message_thoughts(message) if isinstance(message, dict) else None,
        reasoning_usage(reply),
        model if isinstance(model, str) and model else None,
        calls_tools=isinstance(message, dict)
        and bool(message.get("tool_calls") or message.get("function_call")),
    )


def is_foreign(requested: str, answered: str) -> bool:
    """Return whether a reply names another model than the one asked: a proxy's fallback.

    A date, revision or `latest` behind the name is the same model, and so is an owner or path in
    front of one of the two.
    """
    if ("/" in requested) != ("/" in answered):
        requested, answered = (name.rpartition("/")[2] for name in (requested, answered))
    return re.fullmatch(re.escape(requested) + _VERSION, answered) is None


_VERSION = r"(?:@.+|:latest|-\d{4}(?:-?\d\d-?\d\d)?|-\d{3})?"


def ordered_choices(reply: Mapping[str, Any], wanted: int) -> list[dict[str, Any]]:
    """Return the reply's choices in the order of what was asked."""
    choices = reply.get("choices")
    if not isinstance(choices, list) or len(choices) != wanted:
        raise RetryableError(
            f"the reply does not have {count_noun(wanted, 'choice')}: {str(choices)[:80]}"
        )
    if not all(isinstance(choice, dict) for choice in choices):
        raise RetryableError(f"the reply's choices are not objects: {str(choices)[:80]}")
    return sorted(choices, key=lambda choice: choice.get("index") or 0)


def token_usage(reply: Mapping[str, Any], name: str) -> int | None:
    """Return a number of tokens from `usage`; None where the server reports none."""
    value = as_object(reply.get("usage")).get(name)
    return reported_amount(value) if isinstance(value, int) else None


def reasoning_usage(reply: Mapping[str, Any]) -> int | None:
    """Return the tokens of the thoughts from `usage`; None where none are reported."""
    details = as_object(as_object(reply.get("usage")).get("completion_tokens_details"))
    value = details.get("reasoning_tokens")
    return reported_amount(value) or None if isinstance(value, int) else None


def as_object(value: Any) -> dict[str, Any]:
    """Return a part of a reply, or an empty object where it is something else."""
    return value if isinstance(value, dict) else {}


def as_text(value: Any) -> str | None:
    """Return a text of a reply; None where it is something else."""
    return value if isinstance(value, str) else None


def prompt_logprobs(choice: Mapping[str, Any], ids: Sequence[int]) -> list[float] | None:
    """Return the natural-log probability of each token of a prompt after its first.

    Two forms are known: `prompt_logprobs` (vLLM: a mapping of token ids for each position) and
    `logprobs.token_logprobs` of an echoed prompt (vLLM, SGLang, OpenAI's older models).
    """
    logprobs: Any
    positions = choice.get("prompt_logprobs")
    if isinstance(positions, list) and len(positions) == len(ids):
        logprobs = [
            _token_logprob(position, token) for position, token in zip(positions, ids, strict=True)
        ]
    else:
        logprobs = as_object(choice.get("logprobs")).get("token_logprobs")
        # The token that had to be written may be at the end.
        if not isinstance(logprobs, list) or len(logprobs) not in (len(ids), len(ids) + 1):
            return None
    values = logprobs[1 : len(ids)]
    fine = all(isinstance(v, int | float) and math.isfinite(v) and v <= 1e-3 for v in values)
    return [float(v) for v in values] if fine else None


def _token_logprob(position: Any, token: int) -> Any:
    return as_object(as_object(position).get(str(token))).get("logprob")


_TOKEN_ID = "token_id:"


def logprobs_by_id(choice: Mapping[str, Any]) -> dict[int, float] | None:
    """Return token id → log-probability of a choice's first token; None without ids."""
    positions = as_object(choice.get("logprobs")).get("top_logprobs")
    first = positions[0] if isinstance(positions, list) and positions else None
    if not isinstance(first, dict) or not first:
        return None
    names = [name.removeprefix(_TOKEN_ID) for name in first if name.startswith(_TOKEN_ID)]
    if len(names) != len(first) or not all(name.isdecimal() for name in names):
        return None
    values = [v for v in first.values() if isinstance(v, int | float) and math.isfinite(v)]
    if len(values) != len(names):
        return None
    return {int(name): float(value) for name, value in zip(names, values, strict=True)}
