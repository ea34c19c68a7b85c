"""chat: training files of TRL and OpenAI; the last assistant turn is what is expected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.cases import Case

TABLE = 'from = "chat"\nfile = "c.jsonl"\n'
SYSTEM = {"role": "system", "content": "Be brief."}
ASK = {"role": "user", "content": "Where is it?"}
SAY = {"role": "assistant", "content": "On its way."}
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"nr": 7}'}},
]}  # fmt: skip


def _write(folder: Path, *rows: dict[str, Any]) -> None:
    (folder / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"messages": [ASK, SAY]}, {"prompt": "Where is it?", "expected": "On its way."}),
        ({"messages": [SYSTEM, ASK, SAY]},
         {"messages": (SYSTEM, ASK), "expected": "On its way."}),
        ({"messages": [{**SYSTEM, "role": "developer"}, ASK, SAY]},  # OpenAI's name of it
         {"messages": (SYSTEM, ASK), "expected": "On its way."}),
        ({"messages": [ASK, SAY, ASK, {**SAY, "content": "Still."}]},
         {"messages": (ASK, SAY, ASK), "expected": "Still."}),
        ({"messages": [ASK, {**SAY, "content": [{"type": "text", "text": "On "},
                                                {"type": "text", "text": "it."}]}]},
         {"prompt": "Where is it?", "expected": "On it."}),
        ({"messages": [ASK, CALL], "tools": [{"type": "function"}]},
         {"prompt": "Where is it?", "tools": ({"type": "function"},),
          "expected_calls": ({"name": "find", "arguments": {"nr": [7]}},)}),
        ({"messages": [ASK, SAY], "tools": [{"type": "function"}]},  # no tool was to be called
         {"prompt": "Where is it?", "expected": "On its way.", "tools": ({"type": "function"},),
          "expected_calls": ()}),
        ({"prompt": "2+2=", "completion": " 4"}, {"prompt": "2+2=", "expected": "4"}),
        ({"prompt": [SYSTEM, ASK], "completion": [SAY]},
         {"messages": (SYSTEM, ASK), "expected": "On its way."}),
        ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
         {"prompt": "Hi", "expected": "Hello"}),
        ({"messages": [ASK, SAY], "expected": "not a case's key here"},
         {"prompt": "Where is it?", "expected": "On its way."}),
    ],
)  # fmt: skip
def test_forms(
    tmp_path: Path,
    cases: Callable[[str], list[Case]],
    row: dict[str, Any],
    fields: dict[str, Any],
) -> None:
    """What was asked is the prompt, what the assistant said or called last is expected."""
    _write(tmp_path, row)

    (case,) = cases(TABLE)
    assert case == Case(id=case.id, **fields)


def test_further_keys_are_named(tmp_path: Path, cases: Callable[[str], list[Case]]) -> None:
    """`columns` adds ids, tags and clusters to what the conversation gives."""
    _write(tmp_path, {"messages": [ASK, SAY], "nr": 12, "topic": ["late", "eu"], "by": {"id": "c"}})
    (case,) = cases(TABLE + 'columns = { id = "nr", tags = ["topic"], cluster = "by.id" }')

    assert (case.id, case.tags, case.cluster) == ("12", ("late", "eu"), "c")
    assert (case.prompt, case.expected) == ("Where is it?", "On its way.")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"messages": [ASK]}, "ends with the turn of 'user'; the last turn must be the"),
        ({"messages": [SAY]}, "nothing precedes the assistant's turn"),
        ({"messages": []}, "[] must be a list of turns with role and content"),
        ({"messages": "Hi"}, "'Hi' must be a list of turns"),
        ({"messages": [{"content": "Hi"}, SAY]}, "{'content': 'Hi'} must be a turn with role"),
        ({"messages": [ASK, {**SAY, "content": ""}]}, "the assistant's last turn is empty"),
        ({"messages": [ASK, {**SAY, "content": [{"type": "image_url"}]}]},
         "the last assistant turn must be text only"),
        ({"messages": [{**ASK, "role": "function"}, SAY]}, 'messages.0.role: "function" must be'),
        ({"messages": [ASK, {**CALL, "tool_calls": [{"function": {"arguments": "{}"}}]}]},
         "tool call {'arguments': '{}'} has no name"),
        ({"messages": [ASK, {**CALL, "tool_calls": [{"name": "f", "arguments": [1]}]}]},
         "arguments [1] of the call 'f' must be an object"),
        ({"prompt": [ASK], "completion": [SAY, ASK]}, "a completion of 2 turns; one is judged"),
        ({"text": "Hi"}, "neither 'messages' nor 'prompt' and 'completion' among text; from ="),
    ],
)  # fmt: skip
def test_what_is_no_conversation_is_told_with_its_line(
    tmp_path: Path, problems: Callable[[str], list[str]], row: dict[str, Any], problem: str
) -> None:
    _write(tmp_path, {"messages": [ASK, SAY]}, row)

    (found,) = problems(TABLE)
    assert found.startswith(f"c.jsonl:2: {problem}")


def test_the_file_may_be_empty_or_missing(
    tmp_path: Path, problems: Callable[[str], list[str]]
) -> None:
    assert problems(TABLE)[0].startswith(
        'c.jsonl: cannot be read (No such file or directory); write one conversation a line: {"m'
    )
    _write(tmp_path)
    assert problems(TABLE) == ["suite.toml:4: no cases; a suite needs at least one"]
