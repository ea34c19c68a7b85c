"""Forms of other trainers' rows, as the `messages` or `prompt` and `completion` of TRL.

| form | columns | also read by |
|---|---|---|
| alpaca | `instruction`, `input`, `output`; `system`, `history` | LLaMA-Factory, Axolotl, Unsloth |
| sharegpt | `conversations` of `from` and `value`; `system` | LLaMA-Factory, Axolotl, Unsloth |
| OpenAI's | `messages`, with `weight`, `name` and content in parts | OpenAI, Axolotl |
| text | `text`, all of it learned | TRL, Axolotl (`completion`), Unsloth |

The roles of sharegpt and the columns of alpaca are those of LLaMA-Factory's `data/README.md`.
"""

from __future__ import annotations

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
    """Return a row with `messages`, or with `prompt` and `completion`; others as they are.

    Raises:
        InvalidRow: the row teaches nothing, or holds what TRL cannot be given.
    """
    if "prompt" in row or "completion" in row:
        return row
    for key in ("messages", "conversations"):
        if isinstance(row.get(key), list) and row[key]:
            return {"messages": _chat(key, row)}
    if "instruction" in row and "output" in row:
        return {"messages": _alpaca(row)}
    if isinstance(row.get("text"), str):
        return {"prompt": "", "completion": row["text"]}
    return row


def _chat(key: str, row: Mapping[str, Any]) -> list[Any]:
    if row.get("tools"):
        raise InvalidRow("has `tools`, which are not trained here; leave them out, or use TRL")
    turns = [_turn(turn) for turn in row[key]]
    last = row[key][-1]
    if isinstance(last, Mapping) and any(last.get(name, 1) in (0, False) for name in _UNLEARNED):
        raise InvalidRow(f"the last turn of `{key}` has weight 0; there is nothing to learn")
    return [*_system(row), *turns]


def _turn(turn: Any) -> Any:
    if not isinstance(turn, Mapping):
        return turn
    names = {"from": "role", "value": "content"} if {"from", "value"} <= set(turn) else {}
    dropped = (*_UNLEARNED, "name")
    found = {names.get(k, k): v for k, v in turn.items() if k not in dropped and v is not None}
    found["role"] = _ROLES.get(found.get("role", ""), found.get("role"))
    found["content"] = _joined(found.get("content"))
    return found


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
    asked = [row[key] for key in ("instruction", "input") if row.get(key)]
    if not all(isinstance(text, str) for text in asked):
        raise InvalidRow("`instruction` and `input` must be text")
    turns.append({"role": "user", "content": "\n".join(asked)})
    return [*turns, {"role": "assistant", "content": row["output"]}]


def _system(row: Mapping[str, Any]) -> list[Any]:
    return [{"role": "system", "content": row["system"]}] if row.get("system") else []
