"""JSON lines, JSON documents and tables, for all readers."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import UnreadLine
from tunegate.harness.records.errors import MissingExtra, UsageError, error_reason
from tunegate.harness.records.files import check_regular, read_file

LARGEST_DOCUMENT = 2_000_000_000
"""Bytes of the largest JSON document; JSON lines are streamed and have no limit."""
LONGEST_LINE = 100_000_000
"""Bytes of the longest line."""


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | UnreadLine]]:
    """Yield each line's place with its object; blank lines are left out.

    NaN and Infinity are read, as tools write them. A last line that breaks off is `cut`.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            lines = iter(partial(file.readline, LONGEST_LINE), b"")
            for number, raw in enumerate(lines, start=1):
                where = f"{path}:{number}"
                if not raw.strip(b" \t\r\n\x0b\x0c\xef\xbb\xbf\0"):
                    continue
                try:
                    yield where, _object(raw.decode("utf-8-sig"))
                except ValueError as error:
                    cut = not raw.endswith(b"\n")
                    yield where, UnreadLine(where, _reason(error), cut)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def json_document(path: Path) -> Any:
    """Return the content of a JSON file; NaN and Infinity are read."""
    try:
        return json_text(read_file(path, LARGEST_DOCUMENT), str(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def json_text(raw: bytes, where: str) -> Any:
    """Return the value of a JSON text."""
    try:
        return _value(raw.decode("utf-8-sig"))
    except ValueError as error:
        raise UsageError(
            f"{where}: {_reason(error)}; wait until the tool has written it, or run it again"
        ) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply to be read") from error


def _object(text: str) -> dict[str, Any]:
    value = _value(text)
    if not isinstance(value, dict):
        raise ValueError(f"a line must be an object, not {type(value).__name__}")
    return value


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON at column {error.colno} ({error.msg})"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    return "a number with thousands of digits" if "int_max_str" in str(error) else str(error)


def first_bytes(path: Path, count: int = 4096) -> bytes:
    """Return the beginning of a file; empty if it cannot be read."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def csv_records(path: Path, delimiter: str) -> Iterator[tuple[str, dict[str, Any] | UnreadLine]]:
    """Yield each record's place with column → text, as `json_lines` does."""
    try:
        check_regular(path)
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = [name.strip() for name in next(reader, [])]
            twice = next((name for name, times in Counter(names).items() if times > 1), None)
            if twice is not None:
                raise UsageError(f"{path}:1: two columns are called {twice!r}; rename one")
            yield from _records(path, names, reader)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8; save the file as UTF-8") from error


def _records(
    path: Path, names: list[str], reader: Any
) -> Iterator[tuple[str, dict[str, Any] | UnreadLine]]:
    where = f"{path}:{reader.line_num + 1}"
    try:
        for values in reader:
            if values and len(values) != len(names):
                problem = f"{len(values)} columns, the first line has {len(names)}"
                yield where, UnreadLine(where, problem)
            elif values:
                yield where, dict(zip(names, values, strict=True))
            where = f"{path}:{reader.line_num + 1}"
    except csv.Error as error:
        yield where, UnreadLine(where, f"broken CSV ({error}); check the quotes", cut=True)


def parquet_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row's place with its columns, read in batches."""
    try:
        from pyarrow import ArrowException  # type: ignore[import-untyped]  # ships no types
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("a parquet file", "sources") from error
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
    except (ArrowException, OSError) as error:
        raise UsageError(
            f"{path}: cannot be read ({error_reason(error)}); write it again"
        ) from error


TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Suffixes of the files that `table_records` reads."""


def table_records(path: Path) -> Iterator[tuple[str, dict[str, Any] | UnreadLine]]:
    """Yield each record of a table with its place; the suffix decides the format."""
    forms: dict[str, Callable[[], Iterator[tuple[str, dict[str, Any] | UnreadLine]]]] = {
        ".csv": lambda: csv_records(path, ","),
        ".tsv": lambda: csv_records(path, "\t"),
        ".parquet": lambda: parquet_records(path),
        ".json": lambda: _list_records(path),
    }
    return forms.get(path.suffix, lambda: json_lines(path))()


def _list_records(path: Path) -> Iterator[tuple[str, dict[str, Any] | UnreadLine]]:
    records = json_document(path)
    if not isinstance(records, list):
        raise UsageError(f"{path}: must be a list of objects; write JSON lines as .jsonl")
    for number, record in enumerate(records, start=1):
        where = f"{path}: record {number}"
        if isinstance(record, dict):
            yield where, record
        else:
            yield where, UnreadLine(where, "must be an object")
