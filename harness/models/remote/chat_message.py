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
    """Return the text of an answer, as a local model would have written it.

    Tool calls are written out in the form of Hermes, without the ids that differ each time; the
    metric `tool_calls` reads it. A refusal in words is an answer.
    """
    if finish_reason == "content_filter":
        raise UnansweredMessage("the provider's content filter withheld the answer")
    content = message.get("content")
    text = content if isinstance(content, str) else ""
    calls = _calls(message)
    if calls:
        return "\n".join([*([text] if text else []), *calls])
    if not text and isinstance(message.get("refusal"), str):
        text = message["refusal"]
    if not text:
        raise UnansweredMessage(_empty_answer_reason(message, finish_reason))
    return text


def _calls(message: Mapping[str, Any]) -> list[str]:
    """Return the calls as texts."""
    functions = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    legacy = message.get("function_call")
    return [_call(function) for function in (*functions, *([legacy] if legacy else ()))]


def _call(function: Mapping[str, Any]) -> str:
    return call_text(function.get("name"), function.get("arguments"))


def _empty_answer_reason(message: Mapping[str, Any], finish_reason: str | None) -> str:
    reasoned = message.get("reasoning_content") or message.get("reasoning")
    if finish_reason == "length":
        spent = "reasoning used up its tokens" if reasoned else "its tokens were used up unseen"
        return f"no answer: {spent}; raise max_new_tokens under [generation]"
    if reasoned:
        return "no answer: the model reasoned and then wrote nothing"
    return f"the provider sent an empty answer (finish reason {finish_reason or 'unknown'})"
