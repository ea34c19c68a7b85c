"""Tables that trace stores export, in CSV or Parquet → spans: each row is a record of the store.

Langfuse's page writes every value of its CSV as JSON, texts too (transformStreamToCsv.ts); pandas
writes the lists of Phoenix's data frame as Python prints them. Parquet has types of its own.
"""

from __future__ import annotations

import csv
import datetime
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import MissingExtra
from tunegate.harness.telemetry.read.conventions._flattened import load_structure
from tunegate.harness.telemetry.read.conventions._payloads import load_python
from tunegate.harness.telemetry.read.json_reader import SPANS, convert_values, stores
from tunegate.harness.telemetry.read.records import make_span
from tunegate.harness.telemetry.read.stores._fields import plain_number
from tunegate.harness.telemetry.read.trace_input import (
    LONGEST_LINE,
    PARQUET,
    FileContent,
    open_contents,
)
from tunegate.harness.telemetry.read.trace_types import ImportReport, Span

UNKNOWN = (
    "a file that is neither JSON nor a table of Langfuse's observations, LangSmith's runs or "
    "Phoenix's spans"
)
DAMAGED = "a Parquet file that is damaged"
BROKEN = "the rest of a CSV file, from a broken row on"
RAGGED = "a row of a CSV file with more or fewer values than its first line"
TRACES = "an export of Langfuse's traces, which hold no requests (export its observations)"
_TRACES = {"bookmarked", "public", "input", "output"}
"""Columns that Langfuse's traces have."""
_ATTRIBUTES = "attributes."
_CONTENT = {
    "input", "output", "inputs", "outputs", f"{_ATTRIBUTES}input.value",
    f"{_ATTRIBUTES}output.value",
}  # fmt: skip
"""Columns whose texts may look like a structure; conventions read them."""

Table = tuple[Collection[str], Iterable[Mapping[str, Any]]]
"""Columns, and rows with plain values."""


def read_table_spans(content: FileContent, reading: ImportReport) -> Iterator[Span]:
    """Yield the spans of a file."""
    table = _open_table(content)
    if table is None:
        content.reading.leave_out(DAMAGED, content.name)
        return
    columns, rows = table
    if not holds_records(columns):
        names = set(columns)
        content.reading.leave_out(TRACES if names >= _TRACES else UNKNOWN, content.name)
        return
    placed = ((row, f"{content.name}: row {n}") for n, row in enumerate(rows, 1))
    yield from convert_values(placed, SPANS, make_span, content, reading)


def is_trace_table(path: Path) -> bool:
    """Return whether a CSV or Parquet file is a store's export, of traces without requests too."""
    with open_contents(path, ImportReport()) as content:
        columns, _ = _open_table(content) or ((), ())
        return holds_records(columns) or set(columns) >= _TRACES


def holds_records(columns: Collection[str]) -> bool:
    """Return whether a table's columns are those of a store's records."""
    known = (names for store in stores() for names in getattr(store, "COLUMNS", ()))
    return any(set(columns) >= names for names in known)


def _open_table(content: FileContent) -> Table | None:
    return _parquet(content) if content.begin(len(PARQUET)) == PARQUET else _csv(content)


def _csv(content: FileContent) -> Table:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    texts = (line.decode("utf-8", "replace") for line in iter(content.line, b""))
    lines = csv.reader(texts, strict=True)
    try:
        head = next(lines, [])
    except csv.Error:
        head = []  # no table
    columns = [name.removeprefix("\ufeff").strip('"') for name in head]
    return columns, _csv_rows(lines, columns, content)


def _csv_rows(
    lines: Iterator[list[str]], columns: list[str], content: FileContent
) -> Iterator[Mapping[str, Any]]:
    is_json = None
    try:
        for line in filter(None, lines):
            if len(line) != len(columns):
                content.reading.leave_out(RAGGED, content.name)
                continue
            row = dict(zip(columns, line, strict=True))
            if is_json is None:
                is_json = row.get("id", "").startswith('"')
            cells = {name: _unquoted(text) if is_json else text for name, text in row.items()}
            yield {name: _plain(name, text) for name, text in cells.items()}
    except (csv.Error, ValueError):
        content.reading.leave_out(BROKEN, content.name)


def _unquoted(text: str) -> str:
    """Return the text that a cell holds as JSON; anything else as it is written."""
    return str(json.loads(text)) if text.startswith('"') else text


def _parquet(content: FileContent) -> Table | None:
    try:
        from pyarrow import ArrowException  # type: ignore[import-untyped]  # ships no types
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("a parquet file", "sources") from error

    def rows() -> Iterator[Mapping[str, Any]]:
        try:
            for row in (row for batch in file.iter_batches() for row in batch.to_pylist()):
                yield {name: _plain(name, _of_json(value)) for name, value in row.items()}
        except (ArrowException, OSError):
            content.reading.leave_out(DAMAGED, content.name)

    try:
        file = ParquetFile(content.stream)
    except (ArrowException, OSError):
        return None
    return file.schema_arrow.names, rows()


def _of_json(value: Any) -> Any:
    """Return a value of Parquet as JSON would have it."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        value = dict(value)  # Parquet's map
    if isinstance(value, dict):
        return {name: _of_json(inner) for name, inner in value.items()}
    return [_of_json(inner) for inner in value] if isinstance(value, list) else value


def _plain(name: str, value: Any) -> Any:
    """Return a cell's value as JSON would have it; None for an empty one."""
    if value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str) or name in _CONTENT:
        return value
    if not name.startswith(_ATTRIBUTES):
        return load_python(value) if value[0] in "[{" else value
    if load_structure(value) is not None:
        return value  # an attribute that is JSON, and not a list of pandas'
    return plain_number(name.removeprefix(_ATTRIBUTES), load_python(value))
