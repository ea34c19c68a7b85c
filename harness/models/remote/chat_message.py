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
    text = text_of_message(message)
    if not isinstance(text, str) or not text:
        raise UnansweredMessage(_empty_answer_reason(message, finish_reason))
    return text


def text_of_message(message: Mapping[str, Any]) -> Any:
    """Return a message's content as a text with its tool calls, or else its refusal in words.

    Whatever else the content is (null, a number) is returned as it is.

    Raises:
        UnansweredMessage: one of the tool calls is not a call.
    """
    text = message.get("content")
    if isinstance(text, list):  # parts, those of thoughts among them
        text = "".join(p.get("text") or "" for p in text if isinstance(p, dict))
    functions = [_function_of(call) for call in message.get("tool_calls") or ()]
    if message.get("function_call"):  # the older form
        functions.append(_function_of({"function": message["function_call"]}))
    if functions:
        calls = [call_text(f.get("name"), f.get("arguments")) for f in functions]
        return "\n".join([*([text] if isinstance(text, str) and text else []), *calls])
    if not text and isinstance(message.get("refusal"), str):
        return message["refusal"]
    return text


def _function_of(call: Any) -> Mapping[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise UnansweredMessage(f"the reply's tool call is not a call: {str(call)[:80]}")
    return function


def _empty_answer_reason(message: Mapping[str, Any], finish_reason: str | None) -> str:
    reasoned = message.get("reasoning_content") or message.get("reasoning")
    if finish_reason == "length":
        spent = "reasoning used up its tokens" if reasoned else "its tokens were used up unseen"
        return f"no answer: {spent}; raise max_new_tokens under [generation]"
    if reasoned:
        return "no answer: the model reasoned and then wrote nothing"
    return f"the provider sent an empty answer (finish reason {finish_reason or 'unknown'})"
