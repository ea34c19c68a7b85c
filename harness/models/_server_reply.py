"""What is read from the replies of an OpenAI-compatible server."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.remote.failure import Later


@dataclass(frozen=True, slots=True)
class Written:
    """A completion as the server gives it."""

    text: str
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None


def written(reply: Mapping[str, Any]) -> Written:
    """Read a reply of `/completions` or `/chat/completions`.

    Raises:
        Later: it holds no answer.
    """
    choice = choices(reply, 1)[0]
    message = choice.get("message")
    text = choice.get("text") if message is None else _said(message)
    if not isinstance(text, str):
        raise Later(f"the reply holds no text but {str(text)[:80]!r}")
    reason = choice.get("finish_reason")
    return Written(
        text,
        reason if isinstance(reason, str) else None,
        count(reply, "prompt_tokens"),
        count(reply, "completion_tokens"),
    )


def choices(reply: Mapping[str, Any], wanted: int) -> list[dict[str, Any]]:
    """Return the reply's choices in the order of what was asked.

    Raises:
        Later: there are not as many as were asked for.
    """
    found = reply.get("choices")
    if not isinstance(found, list) or len(found) != wanted:
        raise Later(f"the reply has not {wanted} choices but {str(found)[:80]}")
    if not all(isinstance(choice, dict) for choice in found):
        raise Later(f"the reply's choices are no objects: {str(found)[:80]}")
    return sorted(found, key=lambda choice: choice.get("index") or 0)


def count(reply: Mapping[str, Any], name: str) -> int | None:
    """Return a number of tokens from `usage`; None where the server tells none."""
    usage = reply.get("usage")
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else None


def _said(message: Any) -> Any:
    """Return what an assistant's message says; calls of tools are written out as Hermes does."""
    if not isinstance(message, dict):
        return None
    text = message.get("content") or ""
    calls = message.get("tool_calls")
    if not calls:
        return text
    return "\n".join([*([text] if text else []), *map(_call, calls)])


def _call(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise Later(f"the reply's tool call is no call: {str(call)[:80]}")
    arguments = function.get("arguments")
    try:
        parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        parsed = arguments  # the metric says what is wrong with it
    told = json.dumps({"name": function.get("name"), "arguments": parsed}, ensure_ascii=False)
    return f"<tool_call>{told}</tool_call>"


def prompt_logprobs(choice: Mapping[str, Any], ids: Sequence[int]) -> list[float] | None:
    """Return the natural-log probability of each token of a prompt after its first.

    Two forms are known: `prompt_logprobs` (vLLM: a mapping of token ids for each place) and
    `logprobs.token_logprobs` of an echoed prompt (vLLM, SGLang, OpenAI's older models).
    """
    told: Any
    places = choice.get("prompt_logprobs")
    if isinstance(places, list) and len(places) == len(ids):
        told = [_of_token(place, token) for place, token in zip(places, ids, strict=True)]
    else:
        echoed = choice.get("logprobs")
        told = echoed.get("token_logprobs") if isinstance(echoed, dict) else None
        # The token that had to be written may stand at the end.
        if not isinstance(told, list) or len(told) not in (len(ids), len(ids) + 1):
            return None
    values = told[1 : len(ids)]
    fine = all(isinstance(v, int | float) and math.isfinite(v) and v <= 1e-3 for v in values)
    return [float(v) for v in values] if fine else None


def _of_token(place: Any, token: int) -> Any:
    found = place.get(str(token)) if isinstance(place, dict) else None
    return found.get("logprob") if isinstance(found, dict) else None
