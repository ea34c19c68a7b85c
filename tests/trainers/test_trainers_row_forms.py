"""Rows of other trainers: alpaca, sharegpt, OpenAI's and text are read as TRL's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.errors import UsageError
from tunegate.trainers.datasets import COMPLETIONS, load_rows
from tunegate.trainers.row_files import InvalidRow, read_rows


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def call(arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "add", "arguments": arguments}}


CALL = {"role": "assistant", "content": "", "tool_calls": [call({"a": 1})]}
FUNCTION_CALL = {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}
SYSTEM = {"role": "system", "content": "Be brief."}
CHAT = {"prompt": [user("Hi")], "completion": [said("Hello")]}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"instruction": "Hi", "input": "", "output": "Hello"}, CHAT),
        ({"instruction": "Hi", "output": "Hello", "category": "x"}, CHAT),
        (
            {"instruction": "Add", "input": "1 2", "output": "3", "system": "Be brief."},
            {"prompt": [SYSTEM, user("Add\n1 2")], "completion": [said("3")]},
        ),
        (
            {"instruction": "b", "input": "", "output": "B", "history": [["a", "A"]]},
            {"prompt": [user("a"), said("A"), user("b")], "completion": [said("B")]},
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "Hi", "weight": None},
                    {"from": "gpt", "value": "Hello"},
                ],
                "system": "Be brief.",
                "tools": "",
            },
            {"prompt": [SYSTEM, user("Hi")], "completion": [said("Hello")]},
        ),
        (
            {
                "messages": [
                    {"role": "developer", "content": "Be brief."},
                    {"role": "user", "content": [{"type": "text", "text": "Hi"}], "name": "jo"},
                    {"role": "assistant", "content": "Hello", "weight": 1},
                ]
            },
            {"prompt": [SYSTEM, user("Hi")], "completion": [said("Hello")]},
        ),
        (
            {
                "messages": [
                    user("Hi"),
                    CALL | {"tool_calls": [call('{"a": 1}')], "content": None},
                ],
                "tools": [TOOL],
                "parallel_tool_calls": False,
            },
            {"prompt": [user("Hi")], "completion": [CALL], "tools": [TOOL]},
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "Hi"},
                    FUNCTION_CALL,
                    {"from": "observation", "value": "1"},
                    {"from": "gpt", "value": "Hello"},
                ],
                "tools": json.dumps([TOOL["function"]]),
            },
            {
                "prompt": [user("Hi"), CALL, {"role": "tool", "content": "1"}],
                "completion": [said("Hello")],
                "tools": [TOOL],
            },
        ),
        ({"text": "Once upon a time"}, {"prompt": "", "completion": "Once upon a time"}),
    ],
)
def test_a_form_is_read_as_prompt_and_completion(row: Any, expected: Any) -> None:
    assert expected == COMPLETIONS.row(row)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"messages": [user("a"), said("b") | {"weight": 0}]}, "weight 0; there is nothing"),
        ({"messages": [user("a"), said("b") | {"train": False}]}, "weight 0; there is nothing"),
        ({"messages": [user("a"), said("b")], "tools": [{}]}, "`tools` must hold functions"),
        ({"messages": [user("a"), said("b")], "tools": "{oops}"}, "`tools` is not JSON"),
        ({"messages": [user("a"), said("b") | {"tool_calls": [{}]}]}, "`tool_calls` must hold"),
        ({"messages": [user("a"), said("b") | {"tool_calls": []}]}, "must be a list of calls"),
        (
            {"messages": [user("a"), CALL | {"tool_calls": [call(json.dumps(json.dumps({})))]}]},
            "`arguments` of a call must be an object, not '{}'",
        ),
        (
            {"conversations": [{"from": "human", "value": "a"}, FUNCTION_CALL | {"value": "f(1)"}]},
            "`function_call` is not JSON",
        ),
        ({"conversations": [{"from": "gpt", "value": "b"}]}, "two or more turns"),
        ({"instruction": "a", "input": ["b"], "output": "c"}, "`input` must be text"),
        ({"instruction": "a", "output": " "}, "is empty; there is nothing to learn"),
        ({"instruction": "a", "output": "b", "history": ["c"]}, "list of pairs, not 'c'"),
    ],
)
def test_what_cannot_be_learned_is_refused(row: Any, problem: str) -> None:
    with pytest.raises(InvalidRow, match=problem):
        COMPLETIONS.row(row)


def test_a_json_list_is_read_with_the_line_of_each_row(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.json"
    rows = [{"instruction": f"Say {i}", "input": "", "output": str(i)} for i in range(3)]
    path.write_text(json.dumps(rows, indent=1))

    assert [(f"{path}:{line}", row) for line, row in zip((2, 7, 12), rows, strict=True)] == list(
        read_rows(path)
    )
    assert 3 == len(load_rows([str(path)], COMPLETIONS, seed=0).rows)


def test_a_broken_list_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.json"
    path.write_text('[{"instruction": "a", "output": "b"},\n{oops}]')

    with pytest.raises(UsageError, match=r"alpaca\.json:2: not an object of a JSON file"):
        load_rows([str(path)], COMPLETIONS, seed=0)


def test_json_with_a_row_a_line_is_read_too(write_rows: Callable[..., Path]) -> None:
    path = write_rows("lines.json")

    assert [f"{path}:{i + 1}" for i in range(12)] == [where for where, _ in read_rows(path)]


def test_one_object_on_several_lines_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"text": "a"}, indent=2))

    assert [(f"{path}:1", {"text": "a"})] == list(read_rows(path))
