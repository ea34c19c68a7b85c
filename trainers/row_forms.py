"""Forms of other trainers' rows, as the `messages` or `prompt` and `completion` of TRL.

| form | columns |
|---|---|
| alpaca | `instruction`, `input`, `output`; `system`, `history` |
| sharegpt | `conversations` of `from` and `value`; `system`, `tools` |
| OpenAI's | `messages` with `weight`, `name`, content in parts, `tool_calls`; `tools` |
| text | `text`, all of it learned |

LLaMA-Factory, Axolotl and Unsloth read the first two, Axolotl and TRL the others, too. The roles of
sharegpt and the columns of alpaca are those of LLaMA-Factory's `data/README.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunegate.trainers.row_files import InvalidRow

COLUMNS = frozenset(
    {"messages", "conversations", "text", "instruction", "input", "output", "system", "history"}
)
"""Columns that `as_trl` reads, where a row has no `prompt` and `completion`."""
_ROLES = {"human": "user", "gpt": "assistant", "observation": "tool", "developer": "system"}
_UNLEARNED = ("weight", "train", "loss_weight")
"""Keys by which OpenAI, Axolotl and LLaMA-Factory leave a turn out of the loss."""


def as_trl(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row with `messages`, or with `prompt` and `completion`; others as they are."""
    if "prompt" in row or "completion" in row:
        return row
    for key in ("messages", "conversations"):
        if isinstance(row.get(key), list) and row[key]:
            return {"messages": _chat(key, row), "tools": row.get("tools")}
    if "instruction" in row and "output" in row:
        return {"messages": _alpaca(row)}
    if isinstance(row.get("text"), str):
        return {"prompt": "", "completion": row["text"]}
    return row


def _chat(key: str, row: Mapping[str, Any]) -> list[Any]:
    turns = [_turn(turn) for turn in row[key]]
    last = row[key][-1]
    if isinstance(last, Mapping) and any(last.get(name, 1) in (0, False) for name in _UNLEARNED):
        raise InvalidRow(f"the last turn of `{key}` has weight 0; there is nothing to learn")
    return [*_system(row), *turns]


def _turn(turn: Any) -> Any:
    if not isinstance(turn, Mapping):
        return turn
    if turn.get("from") == "function_call":
        called = _parsed("function_call", turn.get("value"))
        calls = called if isinstance(called, list) else [called]
        return {"role": "assistant", "content": "", "tool_calls": calls}
    names = {"from": "role", "value": "content"} if {"from", "value"} <= set(turn) else {}
    dropped = _UNLEARNED if turn.get("role") == "tool" else (*_UNLEARNED, "name")
    message = {names.get(k, k): v for k, v in turn.items() if k not in dropped and v is not None}
    message["role"] = _ROLES.get(message.get("role", ""), message.get("role"))
    message["content"] = _joined(message.get("content", "" if message.get("tool_calls") else None))
    return message


def _joined(content: Any) -> Any:
    """Return content in parts of text as one text; other content as it is."""
    if not isinstance(content, list):
        return content
    texts = [
        part.get("text", part.get("value"))
        for part in content
        if isinstance(part, Mapping) and part.get("type") == "text"
    ]
    whole = len(texts) == len(content) and all(isinstance(text, str) for text in texts)
    return "".join(texts) if whole else content


def _alpaca(row: Mapping[str, Any]) -> list[Any]:
    turns = _system(row)
    for pair in row.get("history") or ():
        if not isinstance(pair, list) or len(pair) != 2:
            raise InvalidRow(f"`history` must be a list of pairs, not {pair!r:.60}")
        turns += [
            {"role": role, "content": text}
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
    texts = [row[key] for key in ("instruction", "input") if row.get(key)]
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRow("`instruction` and `input` must be text")
    turns.append({"role": "user", "content": "\n".join(texts)})
    return [*turns, {"role": "assistant", "content": row["output"]}]


def _system(row: Mapping[str, Any]) -> list[Any]:
    return [{"role": "system", "content": row["system"]}] if row.get("system") else []


def read_tools(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the definitions of the row's tools in OpenAI's form; they may be a JSON text."""
    value = row.get("tools") or []
    tools = _parsed("tools", value) if isinstance(value, str) else value
    if not isinstance(tools, list):
        raise InvalidRow(f"`tools` must be a list of functions, not {tools!r:.60}")
    return [_function("tools", tool) for tool in tools]


def read_calls(calls: Any) -> list[dict[str, Any]]:
    """Return the calls of a turn in OpenAI's form, their arguments as objects."""
    if not isinstance(calls, list) or not calls:
        raise InvalidRow(f"`tool_calls` must be a list of calls, not {calls!r:.60}")
    read = []
    for call in calls:
        normalized = _function("tool_calls", call)
        raw = normalized["function"].get("arguments") or {}
        arguments = _parsed("arguments", raw) if isinstance(raw, str) else raw
        if not isinstance(arguments, dict):
            raise InvalidRow(f"`arguments` of a call must be an object, not {arguments!r:.60}")
        read.append({**normalized, "function": {**normalized["function"], "arguments": arguments}})
    return read


def _function(key: str, value: Any) -> dict[str, Any]:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRow(f"`{key}` must hold functions with a name, not {value!r:.60}")
    named = {"id": value["id"]} if function is not value and "id" in value else {}
    return {**named, "type": "function", "function": function}


def _parsed(key: str, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRow(f"`{key}` is not JSON ({error})") from error
