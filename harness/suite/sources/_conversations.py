"""Conversations in the chat format: the prompt's turns and the expected last one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.records.cases import Case
from tunegate.harness.suite.sources._columns import Columns
from tunegate.harness.suite.sources._table import RowSelection, RowTable, map_columns
from tunegate.harness.suite.sources._text import json_value

PRODUCED = ("prompt", "messages", "expected", "tools", "expected_calls")
"""The case fields that are made from a conversation."""
_SHAREGPT = {"human": "user", "gpt": "assistant", "system": "system"}


def conversation_turns(value: Any) -> list[dict[str, Any]]:
    """Return the turns of a conversation; OpenAI's `developer` becomes `system`.

    Raises:
        ValueError: it is not a list of objects with a role.
    """
    if not isinstance(value, list) or not value:
        raise ValueError(f"{value!r:.60} must be a list of turns with role and content")
    turns = []
    for turn in value:
        if isinstance(turn, Mapping) and {"from", "value"} <= set(turn):
            turn = {"role": _SHAREGPT.get(turn["from"], turn["from"]), "content": turn["value"]}
        if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
            raise ValueError(f"{turn!r:.60} must be a turn with role and content")
        role = "system" if turn["role"] == "developer" else turn["role"]
        # in tables every turn has the keys of all turns, with null for missing ones
        filled = {k: v for k, v in turn.items() if v is not None or k == "content"}
        turns.append({**filled, "role": role})
    return turns


def prompt_fields(before: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the fields of what the model is asked; a single user turn is a prompt.

    Raises:
        ValueError: nothing is asked.
    """
    if not before:
        raise ValueError("nothing precedes the assistant's turn")
    only = before[0]
    if len(before) == 1 and only["role"] == "user" and isinstance(only.get("content"), str):
        return {"prompt": only["content"], "messages": None}
    return {"prompt": None, "messages": list(before)}


def expected_fields(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of what the assistant is expected to write or call.

    Raises:
        ValueError: the turn has neither text nor calls, or content other than text.
    """
    text, calls = _text_content(turn.get("content")), turn.get("tool_calls") or None
    if not text and not calls:
        raise ValueError("the assistant's last turn is empty")
    return {"expected": text or None, "expected_calls": calls and [_call(call) for call in calls]}


def _text_content(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    if all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in parts):
        return "".join(part["text"] for part in parts)
    raise ValueError("the last assistant turn must be text only")


def _call(call: Any) -> dict[str, Any]:
    """Return a call in OpenAI's form as an expected call."""
    function = call.get("function", call) if isinstance(call, Mapping) else call
    return expected_call(function, arguments="arguments")


def expected_call(call: Any, *, arguments: str) -> dict[str, Any]:
    """Return a call in the form of `expected_calls`: each argument with its allowed values.

    Args:
        call: Name and arguments, the latter as an object or its JSON text.
        arguments: The key of the arguments.

    Raises:
        ValueError: it is not a call.
    """
    if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
        raise ValueError(f"tool call {call!r:.60} has no name")
    call_arguments = call.get(arguments) or {}
    if isinstance(call_arguments, str):
        call_arguments = json_value(call_arguments)
    if not isinstance(call_arguments, Mapping):
        raise ValueError(
            f"arguments {call_arguments!r:.60} of the call {call['name']!r} must be an object"
        )
    return {
        "name": call["name"],
        "arguments": {key: [value] for key, value in call_arguments.items()},
    }


def conversation_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the case fields of a row of a training file.

    Raises:
        ValueError: the row has an unknown form, or does not end with an answer.
    """
    tools = row.get("tools") or None
    fields = {**dict.fromkeys(PRODUCED), "tools": tools}
    for key in ("messages", "conversations"):
        if key in row:
            turns = conversation_turns(row[key])
            if turns[-1]["role"] != "assistant":
                raise ValueError(
                    f"ends with the turn of {turns[-1]['role']!r}; the last turn must be the "
                    "assistant's, which is the expected answer"
                )
            return {**fields, **prompt_fields(turns[:-1]), **_expected_with_tools(turns[-1], tools)}
    if {"prompt", "completion"} <= set(row):
        prompt, completion = row["prompt"], row["completion"]
        if isinstance(prompt, str) and isinstance(completion, str):
            return {**fields, "prompt": prompt, "expected": completion.strip()}
        completion_turns = conversation_turns(completion)
        if len(completion_turns) != 1:
            raise ValueError(
                f"a completion of {len(completion_turns)} turns; one is judged at a time"
            )
        return {
            **fields,
            **prompt_fields(conversation_turns(prompt)),
            **_expected_with_tools(completion_turns[0], tools),
        }
    raise ValueError(
        f"neither 'messages' nor 'prompt' and 'completion' among {', '.join(row)}; "
        'from = "jsonl" with columns reads other forms'
    )


def _expected_with_tools(turn: Mapping[str, Any], tools: Any) -> dict[str, Any]:
    """Return what is expected; if tools were offered but not called, no call is."""
    fields = expected_fields(turn)
    return {**fields, "expected_calls": fields["expected_calls"] or ([] if tools else None)}


def conversation_cases(
    table: RowTable, columns: Columns | None, selection: RowSelection
) -> Iterator[Case]:
    """Yield the cases of a table whose rows are conversations of a training file.

    Raises:
        SuiteError: columns are missing, or rows are broken (every one is listed).
    """
    chats = table.with_fields(conversation_fields)
    return map_columns(chats, columns, selection, always=PRODUCED)
