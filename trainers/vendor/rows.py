"""Chat rows for a vendor: JSONL checked line by line before anything is sent.

A line is `{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", …}]}`, in
OpenAI's chat format: assistants' turns may have `tool_calls` and a `weight`, and a row may have
`tools`. What trains here trains there too: `prompt` and `completion` as lists of messages are
joined.

Source of the format and of the ten rows at least: OpenAI's guide to supervised fine-tuning,
https://developers.openai.com/api/docs/guides/supervised-fine-tuning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import UsageError, refuse_unreadable
from tunegate.harness.records.files import numbered_lines
from tunegate.harness.records.hashing import file_sha256
from tunegate.trainers.training_card import DatasetFile

FEWEST = 10
"""Rows that a job needs at least."""
_ROLES = ("system", "developer", "user", "assistant", "tool")
_TURN = {"role", "content", "name", "tool_calls", "tool_call_id", "weight"}
_ROW = {"messages", "tools", "parallel_tool_calls"}
_SHOWN = 20


class _InvalidChat(Exception):
    """The problem of one row."""


@dataclass(frozen=True, slots=True)
class ChatRows:
    """The rows of some files, in their order."""

    rows: tuple[dict[str, Any], ...] = field(repr=False)
    files: tuple[DatasetFile, ...]

    @property
    def content(self) -> bytes:
        """The JSONL that is uploaded."""
        lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in self.rows)
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def read_chats(paths: Sequence[Path], *, fewest: int = FEWEST) -> ChatRows:
    """Read and check the rows of all files."""
    rows: list[dict[str, Any]] = []
    files, problems = [], []
    for path in paths:
        before = len(rows)
        for where, line in _lines(path):
            try:
                rows.append(_row(line))
            except _InvalidChat as error:
                problems.append(f"{where}: {error}")
        files.append(DatasetFile(path=str(path), sha256=file_sha256(path), rows=len(rows) - before))
    if problems:
        more = len(problems) - _SHOWN
        tail = [f"… and {more} more problems"] if more > 0 else []
        raise UsageError("\n".join(problems[:_SHOWN] + tail))
    if len(rows) < fewest:
        names = ", ".join(map(str, paths)) or "no files"
        raise UsageError(f"{names}: {len(rows)} rows; a job needs at least {fewest}")
    return ChatRows(tuple(rows), tuple(files))


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    with refuse_unreadable(path):
        for number, line in numbered_lines(path):
            if line.strip():
                yield f"{path}:{number}", line


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise _InvalidChat("not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise _InvalidChat(f"not one JSON object per line ({error})") from error
    if not isinstance(row, dict):
        raise _InvalidChat("must be an object with `messages`")
    if "messages" not in row and isinstance(row.get("prompt"), list):
        joined = [row["prompt"], row.get("completion")]
        if not all(isinstance(part, list) for part in joined):
            raise _InvalidChat("`completion` must be a list of messages, as `prompt` is")
        row = {"messages": joined[0] + joined[1]}
    _check_row(row)
    return row


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _check_row(row: dict[str, Any]) -> None:
    if "messages" not in row:
        there = ", ".join(map(str, row)) or "none"
        raise _InvalidChat(f"no `messages` (keys: {there}); a vendor takes chats, not plain text")
    if extra := sorted(set(row) - _ROW):
        raise _InvalidChat(f"unknown key `{extra[0]}`; allowed are {', '.join(sorted(_ROW))}")
    turns = row["messages"]
    if not isinstance(turns, list) or len(turns) < 2:
        raise _InvalidChat("`messages` must be a list of two or more turns")
    for i, turn in enumerate(turns):
        _check_turn(f"messages[{i}]", turn)
    if turns[-1]["role"] != "assistant":
        raise _InvalidChat(f"the last turn is of {turns[-1]['role']!r}; it must be the assistant's")
    if not any(turn["role"] == "assistant" and turn.get("weight", 1) for turn in turns):
        raise _InvalidChat("every assistant's turn has weight 0; there is nothing to learn")


def _check_turn(name: str, turn: Any) -> None:
    if not isinstance(turn, dict):
        raise _InvalidChat(f"`{name}` must be an object with `role` and `content`")
    if turn.get("role") not in _ROLES:
        raise _InvalidChat(f"`{name}` role={turn.get('role')!r}; allowed are {', '.join(_ROLES)}")
    if extra := sorted(set(turn) - _TURN):
        raise _InvalidChat(f"`{name}` has `{extra[0]}`; allowed are {', '.join(sorted(_TURN))}")
    if turn.get("weight", 1) not in (0, 1):
        raise _InvalidChat(f"`{name}` weight={turn['weight']!r}; allowed are 0 and 1")
    content, calls = turn.get("content"), turn.get("tool_calls")
    if content is None and turn["role"] == "assistant" and isinstance(calls, list) and calls:
        return
    if not isinstance(content, str | list):
        raise _InvalidChat(f"`{name}` content must be text, not {content!r:.60}")
    if turn["role"] == "assistant" and not calls and not str(content).strip():
        raise _InvalidChat(
            f"`{name}` is an assistant's turn without content; there is nothing to learn"
        )
