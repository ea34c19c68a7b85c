"""Rows of a file: JSONL, JSON, Parquet, or a folder that `datasets` saved."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import UsageError, error_reason, refuse_unreadable
from tunegate.harness.records.files import check_regular, numbered_lines


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) of each row; an unreadable line is an `InvalidRow` as its value."""
    if path.is_dir():
        yield from _read_folder(path)
        return
    with refuse_unreadable(path):
        check_regular(path)
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
        return
    if path.suffix == ".json":
        yield from _read_json(path)
        return
    for number, line in numbered_lines(path):
        if line.strip():
            yield f"{path}:{number}", _parse(line)


def _read_json(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a JSON list, or of objects on any lines, with the line of each."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8; save the file as UTF-8") from error
    decoder, line, seen = json.JSONDecoder(), 1, 0
    at = len(text) - len(text.lstrip())
    at += text[at : at + 1] == "["
    while True:
        while text[at : at + 1] in {" ", "\t", "\r", "\n", ","}:
            at += 1
        line, seen = line + text.count("\n", seen, at), at
        if text[at : at + 1] in ("]", ""):
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            yield f"{path}:{line}", InvalidRow(f"not an object of a JSON file ({error})")
            return
        yield f"{path}:{line}", value


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return InvalidRow("not UTF-8; save the file as UTF-8")
    except ValueError as error:
        return InvalidRow(f"not one JSON object per line ({error})")


def _read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow.parquet  # type: ignore[import-untyped]  # ships no types

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"{path}: not readable as Parquet ({error})") from error
    yield from _number_rows(path, rows)


def _read_folder(path: Path) -> Iterator[tuple[str, Any]]:
    import datasets  # type: ignore[import-untyped]  # ships no types

    try:
        rows = datasets.load_from_disk(str(path))
    except (ValueError, OSError) as error:
        raise UsageError(
            f"{path}: not a folder that `datasets` saved ({error_reason(error):.200})"
        ) from error
    if isinstance(rows, datasets.DatasetDict):
        if "train" not in rows:
            raise UsageError(f"{path}: no split 'train'; name one: {_splits(path, rows)}")
        rows = rows["train"]
    yield from _number_rows(path, rows)


def _splits(path: Path, rows: Mapping[str, Any]) -> str:
    return ", ".join(str(path / split) for split in rows)


def _number_rows(path: Path, rows: Any) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a table; nulls are columns that the row does not have."""
    for number, row in enumerate(rows, start=1):
        yield f"{path}:row {number}", {k: v for k, v in row.items() if v is not None}


class InvalidRow(Exception):
    """The problem of one row."""
