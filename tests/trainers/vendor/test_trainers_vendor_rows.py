"""Chats for a vendor: each wrong line is named before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.errors import UsageError
from tunegate.trainers.vendor.rows import read_chats

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
GOOD = {"messages": [USER, ANSWER]}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([], "must be an object with `messages`"),
        ({"text": "x"}, "no `messages` (keys: text); a vendor takes chats"),
        ({"prompt": "a", "completion": "b"}, "no `messages` (keys: prompt, completion)"),
        ({"prompt": [USER], "completion": "b"}, "`completion` must be a list of messages"),
        (
            {**GOOD, "id": 1},
            "unknown key `id`; allowed are messages, parallel_tool_calls",
        ),
        ({"messages": [ANSWER]}, "two or more turns"),
        ({"messages": [ANSWER, USER]}, "the last turn is of 'user'"),
        ({"messages": [USER, "Hello"]}, "`messages[1]` must be an object"),
        ({"messages": [USER, {"role": "bot", "content": "x"}]}, "role='bot'; allowed are system"),
        ({"messages": [{"role": "user", "content": 3}, ANSWER]}, "content must be text, not 3"),
        ({"messages": [USER, {"role": "assistant"}]}, "content must be text, not None"),
        ({"messages": [USER, {**ANSWER, "content": " "}]}, "without content"),
        ({"messages": [USER, {**ANSWER, "weight": 2}]}, "weight=2; allowed are 0 and 1"),
        ({"messages": [USER, {**ANSWER, "weight": 0}]}, "every assistant's turn has weight 0"),
        ({"messages": [USER, {**ANSWER, "mood": "x"}]}, "`messages[1]` has `mood`"),
    ],
)
def test_a_wrong_row_is_named(write_rows: Callable[..., Path], row: Any, words: str) -> None:
    path = write_rows("train.jsonl", [GOOD, row, *[GOOD] * 10])

    with pytest.raises(UsageError) as caught:
        read_chats([path])

    assert f"{path}:2: " in str(caught.value)
    assert words in str(caught.value)


def test_every_wrong_line_is_named(tmp_path: Path) -> None:
    """Broken JSON, a NaN and bytes that are no UTF-8, each in a line of its own."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"messages": [}\n{"messages": NaN}\n\xff\xfe\n\n')

    with pytest.raises(UsageError) as caught:
        read_chats([path])

    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{path}:{i}" for i in (1, 2, 3)]
    assert "NaN is not a JSON number" in lines[1]
    assert "not UTF-8" in lines[2]


def test_too_few_rows(write_rows: Callable[..., Path]) -> None:
    """A vendor takes ten at least, over all files."""
    nine, one = write_rows("a.jsonl", [GOOD] * 9), write_rows("b.jsonl", [GOOD])

    with pytest.raises(UsageError, match="9 rows; a job needs at least 10"):
        read_chats([nine])
    assert [file.rows for file in read_chats([nine, one]).files] == [9, 1]


def test_calls_of_tools_are_kept(write_rows: Callable[..., Path]) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    turn = {"role": "assistant", "content": None, "tool_calls": calls}
    row = {"messages": [USER, turn], "tools": [{"type": "function", "function": {"name": "f"}}]}
    path = write_rows("train.jsonl", [row] * 10)

    sent = read_chats([path]).content.splitlines()

    assert [json.loads(line) for line in sent] == [row] * 10


def test_text_of_any_kind_can_be_sent(write_rows: Callable[..., Path]) -> None:
    path = write_rows("train.jsonl", [{"messages": [USER, {**ANSWER, "content": "\ud800"}]}] * 10)

    assert len(read_chats([path]).content.splitlines()) == 10
