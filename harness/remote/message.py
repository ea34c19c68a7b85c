"""What a chat message answers, in one text; a message that answers nothing says why.

Example:
    >>> answer_of({"content": "Paris"}, "stop")
    'Paris'
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any


class Unanswered(ValueError):
    """A message that is no answer: its case is unscored, never scored as an empty text."""


def answer_of(message: Mapping[str, Any], finish_reason: str | None) -> str:
    """Return the text of an answer, as a local model would have written it.

    Tool calls are written out in the form of Hermes, without the ids that differ each time; the
    metric `tool_calls` reads it. A refusal in words is an answer.

    Args:
        message: The message in OpenAI's form: `content`, `tool_calls`, `refusal` …
        finish_reason: Why it ended.

    Raises:
        Unanswered: a filter cut it off, or there is nothing in it.
    """
    if finish_reason == "content_filter":
        raise Unanswered("the provider's content filter withheld the answer")
    content = message.get("content")
    text = content if isinstance(content, str) else ""
    calls = _calls(message)
    if calls:
        return "\n".join([*([text] if text else []), *calls])
    if not text and isinstance(message.get("refusal"), str):
        text = message["refusal"]
    if not text:
        raise Unanswered(_why_empty(message, finish_reason))
    return text


def _calls(message: Mapping[str, Any]) -> list[str]:
    """Return the calls as texts."""
    functions = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    legacy = message.get("function_call")
    return [_call(function) for function in (*functions, *([legacy] if legacy else ()))]


def _call(function: Mapping[str, Any]) -> str:
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError):  # the metric says what is wrong with it
            arguments = json.loads(arguments)
    told = {"name": function.get("name"), "arguments": arguments}
    return f"<tool_call>{json.dumps(told, ensure_ascii=False)}</tool_call>"


def _why_empty(message: Mapping[str, Any], finish_reason: str | None) -> str:
    reasoned = message.get("reasoning_content") or message.get("reasoning")
    if finish_reason == "length":
        spent = "reasoning used up its tokens" if reasoned else "its tokens were used up unseen"
        return f"no answer: {spent}; raise max_new_tokens under [generation]"
    if reasoned:
        return "no answer: the model reasoned and then said nothing"
    return f"the provider sent an empty answer (finish reason {finish_reason or 'unknown'})"
