"""Format detection for `suite new --from`: guesses a case file's format by name and first row.

A guess is written into suite.toml, where it can be read and fixed; nothing is guessed later.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.keyword_options import outside_problem
from tunegate.harness.contracts.source import USUAL_NAMES
from tunegate.harness.records.errors import MissingExtra, UsageError, error_reason
from tunegate.harness.records.files import check_regular, numbered_lines, read_file

_NEEDED = "give a .csv, .tsv, .parquet, .json, .jsonl or .yaml file, or a saved data set"


def cases_table(path: Path, folder: Path) -> str:
    """Return the `[cases]` table of a suite in `folder` whose cases are at `path`."""
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; {_NEEDED}")
    try:
        settings = _settings(path)
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read ({error}); {_NEEDED}") from error
    where = os.path.relpath(path.resolve(), folder.resolve())
    if problem := outside_problem(folder, path.absolute()):
        raise UsageError(problem)
    key = "path" if settings["from"] == "datasets" else "file"
    lines = [f"from = {_toml(settings.pop('from'))}", f"{key} = {_toml(where)}"]
    return "\n".join(["[cases]", *lines, *(f"{k} = {_toml(v)}" for k, v in settings.items())])


def _settings(path: Path) -> dict[str, Any]:
    """Return the source's name and options."""
    if path.is_dir():
        return {"from": "datasets", **_columns(_features(path))}
    check_regular(path)
    if path.suffix in (".csv", ".tsv"):
        return _guess_csv(path)
    if path.suffix == ".parquet":
        return {"from": "parquet", **_columns(_parquet_columns(path))}
    if path.suffix in (".yaml", ".yml"):
        return {"from": "promptfoo"}
    if path.suffix in (".json", ".jsonl"):
        return _guess_json(_first(path))
    raise ValueError("unknown form")


def _guess_csv(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        mark = max(",;\t|", key=header.count)
        names = next(csv.reader([header], delimiter=mark), [])
    if {"input", "expected_output", "actual_output"} <= set(names):
        return {"from": "deepeval"}
    delimiter = {} if mark == "," else {"delimiter": mark}
    return {"from": "csv", **delimiter, **_columns(name.strip() for name in names)}


def _guess_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the source whose keys a row has."""
    keys = set(row)
    if "prompts" in keys and "tests" in keys:
        return {"from": "promptfoo"}
    if "ideal" in keys and "input" in keys:
        return {"from": "openai_evals"}
    if "input" in keys and keys & {"expected_output", "actual_output", "retrieval_context"}:
        return {"from": "deepeval"}
    if keys & {"conversations", "completion"} or _ends_with_answer(row.get("messages")):
        return {"from": "chat"}
    if keys & {"prompt", "messages"}:
        return {"from": "jsonl"}
    return {"from": "jsonl", **_columns(row)}


def _ends_with_answer(messages: Any) -> bool:
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, Mapping) and last.get("role") == "assistant"


def _first(path: Path) -> Mapping[str, Any]:
    """Return the first row of a JSON file, or the object that it is."""
    lines = (line for _, line in numbered_lines(path) if line.strip())
    text = read_file(path) if path.suffix == ".json" else next(lines, b"null")
    content = json.loads(text.decode("utf-8-sig"))
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, Mapping):
        raise ValueError("its first row is not an object")
    return first


def _parquet_columns(path: Path) -> list[str]:
    try:
        from pyarrow import ArrowException  # type: ignore[import-untyped]  # ships no types
        from pyarrow.parquet import read_schema  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("a parquet file", "sources") from error
    try:
        return list(read_schema(path).names)
    except ArrowException as error:
        raise ValueError(error_reason(error)) from error


def _features(folder: Path) -> list[str]:
    """Return the columns that a saved data set declares; none of a folder of files."""
    for info in sorted(folder.rglob("dataset_info.json")):
        return list(json.loads(info.read_text(encoding="utf-8")).get("features") or ())
    return []


def _columns(names: Iterable[str]) -> dict[str, Any]:
    """Return the `columns` table, or nothing if no column looks like a prompt."""
    there = {name.lower(): name for name in names}
    guesses = {
        field: next((there[name] for name in usual if name in there), None)
        for field, usual in USUAL_NAMES.items()
    }
    columns = {field: name for field, name in guesses.items() if name is not None}
    left = [name for name in there.values() if name not in columns.values()]
    if len(there) == 2 and left:  # two columns are question and answer, in this order
        first, second = there.values()
        if "prompt" not in columns and columns.get("expected") != first:
            columns |= {"prompt": first}
        if "expected" not in columns and columns.get("prompt") != second:
            columns |= {"expected": second}
    if {"instruction", "input"} <= set(there):  # Alpaca's form
        columns["prompt"] = f"{{{there['instruction']}}}\n\n{{{there['input']}}}"
    if columns.get("prompt") is None and {"messages", "conversations"} & set(there):
        return {"chat": True}
    return {"columns": columns} if "prompt" in columns else {}


def _toml(value: Any) -> str:
    """Return a text, a truth value or a table of texts as TOML, which writes them as JSON does."""
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
