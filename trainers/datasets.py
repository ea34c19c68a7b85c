"""Training rows in the formats that the methods take.

A file is JSONL (one row a line), a JSON list, Parquet, or a folder that `datasets` saved
(`save_to_disk`; of one with splits the split `train`, unless `FOLDER/SPLIT` is named). A row has
one of TRL's formats:

| format | method | columns |
|---|---|---|
| `COMPLETIONS` | sft | `prompt`, `completion`; or `messages`, whose last turn is the completion |
| `PREFERENCES` | dpo, reward | `prompt`, `chosen`, `rejected`; chats may leave `prompt` out |
| `LABELLED` | kto | `prompt`, `completion`, `label` (true or false) |
| `CLASSES` | classify | `prompt`, `label`; `context` is the second text of a pair |
| `PROMPTS` | grpo, ppo | `prompt`, and whatever the reward needs; all columns are kept |

Each of prompt, completion, chosen and rejected is text, or a list of `{"role", "content"}`. One
row has one kind of them, and so has one training. Chats get the model's chat template, text none.
Completions may also be in the forms of other trainers (`trainers/row_forms.py`).
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts.reasoning import split_text
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.hashing import content_sha256
from tunegate.trainers import row_forms
from tunegate.trainers.row_files import InvalidRow, read_rows

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types

_SHOWN = 20
"""Problems that are listed; more are counted."""


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """One file that rows came from."""

    path: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """The rows of all files in the order of training, and where they came from."""

    rows: tuple[Mapping[str, Any], ...] = field(repr=False)
    files: tuple[TrainingFile, ...]
    places: tuple[str, ...] = field(repr=False, default=())
    """File and line of each row."""

    def to_dataset(self) -> Dataset:
        """Return the rows as TRL takes them."""
        from datasets import Dataset

        rows = [dict(row) for row in self.rows]
        if not any("tools" in row for row in rows):
            return Dataset.from_list(rows)
        rows = [{**row, "tools": row.get("tools") or None} for row in rows]
        return Dataset.from_list(rows, features=_json_columns())


def _json_columns() -> Any:
    """Return columns that hold each turn as JSON.

    A column of objects would give each call the arguments of all calls, with null for its own.
    """
    import datasets

    if not hasattr(datasets, "Json"):
        raise UsageError("rows with tools need `datasets` 4.7 or newer: pip install -U datasets")
    column = datasets.List(datasets.Json())
    return datasets.Features(dict.fromkeys(("prompt", "completion", "tools"), column))


def load_rows(paths: Sequence[str], form: RowFormat, *, seed: int) -> TrainingRows:
    """Read the rows of all files and mix them in an order that `seed` decides."""
    rows, files, problems = read_files(paths, form)
    raise_all(problems)
    random.Random(seed).shuffle(rows)
    places, values = zip(*rows, strict=True)
    return TrainingRows(values, tuple(files), places)


def read_files(
    paths: Sequence[str], form: RowFormat
) -> tuple[list[tuple[str, Mapping[str, Any]]], list[TrainingFile], list[str]]:
    """Return the good rows with their places, the files, and a line for each problem."""
    rows: list[tuple[str, Mapping[str, Any]]] = []
    files, problems = [], []
    first_of: dict[bool, str] = {}
    for path in map(Path, paths):
        count = 0
        for where, value in read_rows(path):
            try:
                row = form.row(value)
            except InvalidRow as error:
                problems.append(f"{where}: {error}")
            else:
                first_of.setdefault(is_text(row), where)
                rows.append((where, row))
            count += 1
        if not count:
            problems.append(f"{path}: no rows in this file")
        files.append(TrainingFile(str(path), content_sha256(path), count))
    if len(first_of) == 2:
        problems.append(
            f"{first_of[True]}: plain text, but {first_of[False]} is a chat; a training takes one "
            "kind: write both as lists of messages, or both as text"
        )
    return rows, files, problems


def guess_file_format(path: str) -> RowFormat:
    """Return the format that a file seems to have, by its first row."""
    if not Path(path).exists():
        raise UsageError(f"{path}: no such file")
    return guess_format(next((value for _, value in read_rows(Path(path))), None))


def raise_all(problems: list[str]) -> None:
    """Raise the problems, one per line, where there are any; the first ones of many."""
    if problems:
        more = len(problems) - _SHOWN
        tail = [f"… and {more} more problems"] if more > 0 else []
        raise UsageError("\n".join(problems[:_SHOWN] + tail))


_ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class RowFormat:
    """One format of rows."""

    name: str
    columns: str
    """Required columns of a row, in words for the user."""
    read: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Returns the row as TRL takes it, always with the same columns; raises `InvalidRow`."""
    example: str
    """The shortest good row, as JSON."""

    def row(self, value: Any) -> dict[str, Any]:
        """Return the row that a line of a file holds."""
        if isinstance(value, InvalidRow):
            raise value
        if not isinstance(value, dict):
            raise InvalidRow(f"must be an object with {self.columns}, such as {self.example}")
        return self.read(value)


def thinking_rows(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Return how many rows have thoughts before the answer; None where a row holds no answer."""
    count = 0
    for row in rows:
        answer = row.get("completion", row.get("chosen"))
        if answer is None:
            return None
        text = answer if isinstance(answer, str) else answer[-1]["content"]
        prompt = row.get("prompt")
        count += split_text(text, prompt=prompt if isinstance(prompt, str) else "") is not None
    return count


def is_text(row: Mapping[str, Any]) -> bool:
    """Return whether a row is plain text and not a chat."""
    return isinstance(row["prompt"], str)


def _completions(value: Mapping[str, Any]) -> dict[str, Any]:
    value = row_forms.as_trl(value)
    tools = row_forms.read_tools(value)
    if "messages" in value:
        turns = _turns("messages", value["messages"], calls=True)
        if len(turns) < 2 or turns[-1]["role"] != "assistant":
            raise InvalidRow("`messages` must be two or more turns, the last the assistant's")
        prompt: Any = turns[:-1]
        completion: Any = turns[-1:]
    else:
        _require(value, COMPLETIONS, "prompt", "completion")
        prompt, completion = (
            _side(key, value[key], calls=True) for key in ("prompt", "completion")
        )
    _check_answer("completion", prompt, completion)
    columns = {"prompt": prompt, "completion": completion}
    if isinstance(prompt, str):
        return columns
    called = any("tool_calls" in turn for turn in (*prompt, *completion))
    return {**columns, "tools": tools} if tools or called else columns


def _preferences(value: Mapping[str, Any]) -> dict[str, Any]:
    _require(value, PREFERENCES, "chosen", "rejected")
    chosen, rejected = (_side(key, value[key]) for key in ("chosen", "rejected"))
    if "prompt" in value:
        prompt = _side("prompt", value["prompt"])
    elif isinstance(chosen, list) and isinstance(rejected, list):
        prompt, chosen, rejected = _split(chosen, rejected)
    else:
        _require(value, PREFERENCES, "prompt")
    for key, answer in (("chosen", chosen), ("rejected", rejected)):
        _check_answer(key, prompt, answer)
    if chosen == rejected:
        raise InvalidRow("`chosen` and `rejected` are the same; there is nothing to prefer")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _labelled_row(value: Mapping[str, Any]) -> dict[str, Any]:
    _require(value, LABELLED, "prompt", "completion", "label")
    prompt, completion = (_side(key, value[key]) for key in ("prompt", "completion"))
    _check_answer("completion", prompt, completion)
    if not isinstance(value["label"], bool):
        raise InvalidRow(f"`label` must be true or false, not {value['label']!r:.60}")
    return {"prompt": prompt, "completion": completion, "label": value["label"]}


def _class_row(value: Mapping[str, Any]) -> dict[str, Any]:
    """Read a row of a classifier: a label, a list of labels, or a number."""
    _require(value, CLASSES, "prompt", "label")
    texts = [value["prompt"], value.get("context")]
    if not isinstance(texts[0], str) or not isinstance(texts[1], str | None):
        raise InvalidRow("`prompt` and `context` must be text; a classifier reads no messages")
    label = value["label"]
    if isinstance(label, int | float) and not isinstance(label, bool) and math.isfinite(label):
        return {"prompt": texts[0], "context": texts[1], "label": float(label)}
    names = label if isinstance(label, list) else [label]
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise InvalidRow(
            f"`label` must be a text, a list of texts or a number, not {value['label']!r:.60}"
        )
    return {"prompt": texts[0], "context": texts[1], "label": label}


def _prompts(value: Mapping[str, Any]) -> dict[str, Any]:
    _require(value, PROMPTS, "prompt")
    prompt = _side("prompt", value["prompt"])
    if isinstance(prompt, list) and prompt[-1]["role"] == "assistant":
        raise InvalidRow("`prompt` ends with the assistant's turn, which the model is to write")
    if isinstance(prompt, str) and not prompt.strip():
        raise InvalidRow("`prompt` is empty; there is nothing to answer")
    return {**value, "prompt": prompt}


def _require(value: Mapping[str, Any], form: RowFormat, *keys: str) -> None:
    if missing := [key for key in keys if key not in value]:
        there = ", ".join(map(str, value)) or "none"
        raise InvalidRow(
            f"no `{missing[0]}` (keys: {there}); a row has {form.columns}: {form.example}"
        )


def _check_answer(key: str, prompt: Any, answer: Any) -> None:
    if isinstance(prompt, str) != isinstance(answer, str):
        raise InvalidRow(f"`prompt` and `{key}` must both be text, or both be messages")
    if isinstance(answer, list) and any(turn["role"] == "user" for turn in answer):
        raise InvalidRow(f"`{key}` contains a user's turn; the model must not learn to write it")
    texts = [answer] if isinstance(answer, str) else map(turn_text, answer)
    if not any(text.strip() for text in texts):
        raise InvalidRow(f"`{key}` is empty; there is nothing to learn")


def turn_text(turn: Mapping[str, Any]) -> str:
    """Return what a turn says, and its calls as JSON."""
    calls = turn.get("tool_calls")
    return "\n".join([turn["content"], *([json.dumps(calls)] if calls else [])])


def _side(key: str, value: Any, *, calls: bool = False) -> Any:
    return value if isinstance(value, str) else _turns(key, value, calls=calls)


def _turns(key: str, value: Any, *, calls: bool = False) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise InvalidRow(f"`{key}` must be text or a list of messages, not {value!r:.60}")
    return [_turn(f"{key}[{i}]", turn, calls=calls) for i, turn in enumerate(value)]


_OF_CALLS: dict[Any, set[str]] = {"assistant": {"tool_calls"}, "tool": {"tool_call_id", "name"}}
"""Role → keys that its turns may have where tools are called."""


def _turn(name: str, turn: Any, *, calls: bool) -> dict[str, Any]:
    more_keys = (
        _OF_CALLS.get(turn.get("role"), set()) if calls and isinstance(turn, dict) else set()
    )
    if not isinstance(turn, dict) or set(turn) - {"role", "content"} - more_keys:
        raise InvalidRow(f"`{name}` must have `role` and `content` and nothing else")
    if turn.get("role") not in _ROLES:
        raise InvalidRow(f"`{name}` role={turn.get('role')!r}; allowed are {', '.join(_ROLES)}")
    if not isinstance(turn.get("content"), str):
        raise InvalidRow(f"`{name}` content must be text, not {turn.get('content')!r:.60}")
    more = {key: turn[key] for key in sorted(more_keys) if key in turn}
    if "tool_calls" in more:
        more["tool_calls"] = row_forms.read_calls(more["tool_calls"])
    return {"role": turn["role"], "content": turn["content"], **more}


COMPLETIONS = RowFormat(
    "completions",
    "`prompt` and `completion`, or `messages`, or those of alpaca and sharegpt",
    _completions,
    '{"prompt": "…", "completion": "…"}',
)


def _split(chosen: list[Any], rejected: list[Any]) -> tuple[Any, Any, Any]:
    """Return the turns that both answers start with as the prompt, and what is left of them."""
    same = 0
    for turn, other in zip(chosen, rejected, strict=False):
        if turn != other:
            break
        same += 1
    if not same:
        raise InvalidRow("no `prompt`, and `chosen` and `rejected` start with no common turn")
    return chosen[:same], chosen[same:], rejected[same:]


PREFERENCES = RowFormat(
    "preferences",
    "`prompt`, `chosen` and `rejected`",
    _preferences,
    '{"prompt": "…", "chosen": "…", "rejected": "…"}',
)
LABELLED = RowFormat(
    "labelled",
    "`prompt`, `completion` and `label`",
    _labelled_row,
    '{"prompt": "…", "completion": "…", "label": true}',
)
PROMPTS = RowFormat(
    "prompts", "`prompt` and what the reward needs", _prompts, '{"prompt": "…", "answer": "…"}'
)
CLASSES = RowFormat(
    "classes", "`prompt` and `label`", _class_row, '{"prompt": "…", "label": "refund"}'
)

ALL = (COMPLETIONS, PREFERENCES, LABELLED, PROMPTS)


def guess_format(value: Any) -> RowFormat:
    """Return the format that a row seems to follow, by its columns; it may still be wrong."""
    keys = set(value) if isinstance(value, dict) else set()
    if keys & {"chosen", "rejected"}:
        return PREFERENCES
    if {"completion", "label"} <= keys:
        return LABELLED
    return PROMPTS if "prompt" in keys and "completion" not in keys else COMPLETIONS
