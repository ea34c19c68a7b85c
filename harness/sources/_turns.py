"""Conversations in the chat format: what was asked, and what the assistant is expected to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.sources._text import json_value

PRODUCED = ("prompt", "messages", "expected", "tools", "expected_calls")
"""The case fields that are made of a conversation; the others are None in the row."""
_SHAREGPT = {"human": "user", "gpt": "assistant", "system": "system"}


def turns(value: Any) -> list[dict[str, Any]]:
    """Return the turns of a conversation, OpenAI's `developer` as the `system` it replaced.

    Raises:
        ValueError: it is no list of objects with a role.
    """
    if not isinstance(value, list) or not value:
        raise ValueError(f"{value!r:.60} must be a list of turns with role and content")
    found = []
    for turn in value:
        if isinstance(turn, Mapping) and {"from", "value"} <= set(turn):
            turn = {"role": _SHAREGPT.get(turn["from"], turn["from"]), "content": turn["value"]}
        if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
            raise ValueError(f"{turn!r:.60} must be a turn with role and content")
        role = "system" if turn["role"] == "developer" else turn["role"]
        found.append({**turn, "role": role})
    return found


def asked(before: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the fields of what the model is asked: one user's turn alone is a prompt.

    Raises:
        ValueError: nothing is asked.
    """
    if not before:
        raise ValueError("nothing stands before the assistant's turn")
    only = before[0]
    if len(before) == 1 and only["role"] == "user" and isinstance(only.get("content"), str):
        return {"prompt": only["content"], "messages": None}
    return {"prompt": None, "messages": list(before)}


def answered(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of what the assistant's turn is expected to say or call.

    Raises:
        ValueError: it says and calls nothing, or says something that is no text.
    """
    text, calls = _said(turn.get("content")), turn.get("tool_calls") or None
    if not text and not calls:
        raise ValueError("the assistant's last turn is empty")
    return {"expected": text or None, "expected_calls": calls and [_call(call) for call in calls]}


def _said(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    if all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in parts):
        return "".join(part["text"] for part in parts)
    raise ValueError("the assistant's last turn is more than text")


def _call(call: Any) -> dict[str, Any]:
    """Return an expected call of one in OpenAI's form."""
    function = call.get("function", call) if isinstance(call, Mapping) else call
    return expected_call(function, arguments="arguments")


def expected_call(call: Any, *, arguments: str) -> dict[str, Any]:
    """Return a call in the form of `expected_calls`: of each argument the values that are allowed.

    Args:
        call: Name and arguments, the latter as an object or its JSON text.
        arguments: The key of the arguments.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
        raise ValueError(f"tool call {call!r:.60} has no name")
    given = call.get(arguments) or {}
    if isinstance(given, str):
        given = json_value(given)
    if not isinstance(given, Mapping):
        raise ValueError(f"arguments {given!r:.60} of the call {call['name']!r} must be an object")
    return {"name": call["name"], "arguments": {key: [value] for key, value in given.items()}}
