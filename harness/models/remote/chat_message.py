"""The answer in a message of a chat API, as one text.

Example:
    >>> answer_of({"content": "Paris"}, "stop")
    'Paris'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.harness.contracts.reasoning import call_text


class UnansweredMessage(ValueError):
    """A message without an answer: its case is unscored, never scored as an empty text."""


def answer_of(message: Mapping[str, Any], finish_reason: str | None) -> str:
    """Return the text of an answer, as a local model would have written it."""
    if finish_reason == "content_filter":
        raise UnansweredMessage("the provider's content filter withheld the answer")
    text = text_of(message)
    if not isinstance(text, str) or not text:
        raise UnansweredMessage(_empty_answer_reason(message, finish_reason))
    return text


def text_of(message: Mapping[str, Any]) -> Any:
    """Return the content of a message as one text; anything else that is there as it came.

    Tool calls are written out in the form of Hermes, without the ids that differ each time; the
    metric `tool_calls` reads it. A refusal in words is an answer.
    """
    text = message.get("content")
    if isinstance(text, list):  # parts, those of thoughts among them
        parts = [part.get("text") for part in text if isinstance(part, Mapping)]
        text = "".join(part for part in parts if isinstance(part, str))
    legacy = message.get("function_call")
    calls = [*(message.get("tool_calls") or ()), *([{"function": legacy}] if legacy else ())]
    if calls:
        return "\n".join([*([text] if text and isinstance(text, str) else []), *map(_call, calls)])
    refusal = message.get("refusal")
    return refusal if not text and isinstance(refusal, str) else text


def _call(call: Any) -> str:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise UnansweredMessage(f"the reply's tool call is not a call: {str(call)[:80]}")
    return call_text(function.get("name"), function.get("arguments"))


def _empty_answer_reason(message: Mapping[str, Any], finish_reason: str | None) -> str:
    reasoned = message.get("reasoning_content") or message.get("reasoning")
    if finish_reason == "length":
        spent = "reasoning used up its tokens" if reasoned else "its tokens were used up unseen"
        return f"no answer: {spent}; raise max_new_tokens under [generation]"
    if reasoned:
        return "no answer: the model reasoned and then wrote nothing"
    return f"the provider sent an empty answer (finish reason {finish_reason or 'unknown'})"
