"""Tabular sources: rows → cases, with column mapping and seeded sampling.

The `columns` table of a suite file: case field → column of a team's own table.

A column within another is named with a dot (`answers.text`), several are put together in braces
(`prompt = "{title}: {question}"`). Without `columns`, those that are called as a case's fields are
taken.

Example:
    columns = { prompt = "question", expected = ["answer", "other"], tags = ["topic"] }
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from tunegate.harness.contracts.source import make_case
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import (
    MissingExtra,
    SuiteError,
    error_reason,
    unknown_name_message,
)
from tunegate.harness.records.problems import lfs_problem, summarize_problems
from tunegate.harness.suite.sources._text import Row, json_value

MOST_ROWS = 100_000
"""Rows that become cases: a suite is run on every candidate, so it has thousands."""

Count = Annotated[int, Field(ge=1)]
"""A number of cases."""


Repeated = Literal["refuse", "drop"]
"""Remedy for equal rows: as evidence they count once."""


@dataclass(frozen=True, slots=True)
class RowSelection:
    """Keys of every source of rows: which of them become cases."""

    limit: Count | None = None
    """The first so many."""
    sample: Count | None = None
    """So many, drawn by seed and kept in their order."""
    seed: int = 0
    repeated: Repeated = "refuse"
    """Treatment of rows without an id that repeat an earlier case."""

    def of(self, count: int) -> Sequence[int]:
        """Return the numbers of the rows, from 0.

        Raises:
            ValueError: the table has too few rows, or too many of them are wanted.
        """
        if self.limit is not None and self.sample is not None:
            raise ValueError(f"limit={self.limit} and sample={self.sample}: give one of them")
        if self.sample is not None and self.sample > count:
            raise ValueError(f"sample={self.sample}, but there are {count} rows; at most {count}")
        taken = min(count, self.sample or self.limit or count)
        if taken > MOST_ROWS:
            raise ValueError(f"{taken} rows, at most {MOST_ROWS} become cases; set sample or limit")
        return draw_positions(count, taken, self.seed) if self.sample else range(taken)


ALL_ROWS = RowSelection()


def draw_positions(count: int, wanted: int, seed: int | str) -> list[int]:
    """Return `wanted` of `count` positions in their order; a smaller draw is part of a larger."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return sorted(order[:wanted])


@dataclass(frozen=True, slots=True)
class RowTable:
    """The rows of a file or data set."""

    place: str
    """The file, and the line of its header where it has one."""
    columns: Sequence[str]
    count: int
    pick: Callable[[Sequence[int]], Iterable[Row]]
    """Returns the rows of the given numbers."""

    @classmethod
    def of(cls, place: str, rows: Sequence[Row], columns: Sequence[str] | None = None) -> RowTable:
        """Return a table of rows in memory; without `columns` they are the keys of all rows."""
        keys = dict.fromkeys(k for _, row in rows if isinstance(row, Mapping) for k in row)
        names = tuple(keys) if columns is None else columns
        return cls(place, names, len(rows), lambda wanted: (rows[i] for i in wanted))


def read_parquet(path: Path) -> Any:
    """Return a parquet file's rows as a `pyarrow.Table`.

    Raises:
        SuiteError: the file is missing or broken.
        MissingExtra: pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException  # type: ignore[import-untyped]  # ships no types
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("a parquet file", "sources") from error
    if not path.is_file():
        raise SuiteError([f"{path}: no such file; paths start at the suite's folder"])
    if pointer := lfs_problem(path):
        raise SuiteError([pointer])
    try:
        with ParquetFile(path) as file:
            return file.read()
    except (ArrowException, OSError) as error:
        reason = error_reason(error)
        raise SuiteError([f"{path}: cannot be read ({reason}); download it again"]) from error


def rewrite_rows(
    rows: Iterable[Row], rewrite: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> Iterator[Row]:
    """Yield rows as `rewrite` returns them; what it raises is in the row's stead."""
    for where, row in rows:
        try:
            yield where, row if isinstance(row, str) else {**row, **rewrite(row)}
        except ValueError as error:
            yield where, str(error)


def map_columns(
    table: RowTable, columns: Columns | None, selection: RowSelection, always: Sequence[str] = ()
) -> Iterator[Case]:
    """Yield the cases of a table whose columns are mapped.

    Args:
        table: The rows.
        columns: Case field → column; those of the fields' names if None.
        selection: Which rows are taken.
        always: Fields that the source itself has put into columns of their names.

    Raises:
        SuiteError: columns are missing, or rows are broken: every one with its place.
    """
    if always:
        columns = {**{field: field for field in always}, **(columns or {})}
    try:
        fields = ColumnMapping.of(columns, (*always, *table.columns))
    except ValueError as error:
        raise SuiteError([f"{table.place}: {line}" for line in str(error).splitlines()]) from error
    yield from table_cases(table, selection, fields.row)


def table_cases(
    table: RowTable,
    selection: RowSelection,
    form: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> Iterator[Case]:
    """Yield the cases of a table; `form` turns a row into the form of case.schema.json.

    Raises:
        SuiteError: rows are broken: every one with its place.
    """
    problems: list[str] = []
    seen: dict[str, str] = {}
    again: list[str] = []
    try:
        wanted = selection.of(table.count)
    except ValueError as error:
        raise SuiteError([f"{table.place}: {error}"]) from error
    for where, row in table.pick(wanted):
        try:
            if isinstance(row, str):
                raise ValueError(row)
            found = form(row)
            case = make_case(found, where)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        if "id" not in found and case.id in seen:
            again.append(f"{where}: the same as {seen[case.id]}")
            continue
        seen[case.id] = where
        yield case
    if again and selection.repeated == "refuse":
        more = f", and {len(again) - 1} more rows like it" if len(again) > 1 else ""
        problems.append(f'{again[0]}{more}; remove them, give ids, or set repeated = "drop"')
    if problems:
        raise SuiteError(summarize_problems(problems))


TEXTS = ("id", "prompt", "context", "delimiter", "cluster")
"""Fields that are one text."""
LISTS = ("expected", "choices", "stop", "tags")
"""Fields that may be several texts: a column that holds a list, or several columns."""
STRUCTURES = ("messages", "schema", "tools", "expected_calls")
"""Fields that are lists or objects: a column that holds one, or its JSON text."""
FIELDS = (*TEXTS, *LISTS, *STRUCTURES, "answer")
_NAMED = re.compile(r"\{([^{}]+)\}")


def _check_columns(columns: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    """Refuse what can be seen to be wrong before a file is opened."""
    for field, column in columns.items():
        wrong = ""
        if field not in FIELDS:
            wrong = unknown_name_message(field, FIELDS, what="field of a case")
        elif not column:
            wrong = f"{field} names no column"
        elif isinstance(column, list) and field not in LISTS:
            wrong = f'{field} takes one column; put several together as "{{a}} {{b}}"'
        if wrong:
            raise ValueError(wrong)
    return columns


Columns = Annotated[dict[str, str | list[str]], AfterValidator(_check_columns)]
"""Case field → column, or several for a field that may be a list."""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Turns rows of a table into rows in the form of case.schema.json."""

    columns: Mapping[str, str | Sequence[str]]

    @classmethod
    def of(cls, columns: Columns | None, there: Sequence[str]) -> ColumnMapping:
        """Return the mapping of a table that has the columns `there`.

        Raises:
            ValueError: a column does not exist, or none is the prompt; every problem, one per line.
        """
        chosen = {f: f for f in FIELDS if f in there} if columns is None else columns
        problems = [
            f"{field}: {unknown_name_message(name, tuple(there), what='column')}"
            for field, column in chosen.items()
            for name in _names(column, there)
            if name not in there and name.partition(".")[0] not in there
        ]
        if not {"prompt", "messages"} & set(chosen):
            problems.append(
                "no column is the prompt; name it: columns = { prompt = … } with one of "
                + ", ".join(there)
            )
        if problems:
            raise ValueError("\n".join(problems))
        return cls(chosen)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the case fields of a row; empty cells are left out.

        Raises:
            ValueError: a value cannot be what its field needs, or the prompt is empty.
        """
        found = {}
        for field, column in self.columns.items():
            try:
                value = _field(field, column, row)
            except ValueError as error:
                raise ValueError(f"{field}: {error}") from error
            if value is not None:
                found[field] = value
        if not {"prompt", "messages"} & set(found):
            asked = [self.columns[f] for f in ("prompt", "messages") if f in self.columns]
            raise ValueError(f"the prompt is empty (column {asked[0]!r})")
        return found


def _names(column: str | Sequence[str], there: Sequence[str]) -> Sequence[str]:
    """Return the columns that an entry of the table names."""
    if not isinstance(column, str):
        return column
    return [column] if column in there or not _NAMED.search(column) else _NAMED.findall(column)


def _field(field: str, column: str | Sequence[str], row: Mapping[str, Any]) -> Any:
    if not isinstance(column, str):
        parts = [_cell(row, name) for name in column]
        value: Any = [x for part in parts for x in (part if isinstance(part, list) else [part])]
    else:
        value = _cell(row, column)
    if field in LISTS:
        return _texts(field, value)
    if field == "expected_calls" and value == []:
        return value  # no call at all is expected
    if _is_missing(value):
        return None
    if field == "prompt" and isinstance(value, list):
        raise ValueError(
            "a list is not a text; for a list of turns, write messages in the place of prompt"
        )
    if field in TEXTS:
        return _text(value)
    if field in STRUCTURES:
        return json_value(value) if isinstance(value, str) else value
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _texts(field: str, value: Any) -> str | list[str] | None:
    """Return one text or several, None if there is none."""
    if field == "choices" and isinstance(value, str) and value.lstrip().startswith("["):
        value = json_value(value)
    if isinstance(value, list):
        return [_text(one) for one in value if not _is_missing(one)] or None
    if _is_missing(value):
        return None
    return _text(value) if field == "expected" else [_text(value)]


def _cell(row: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column, of one within another, or of a template of them."""
    if column not in row and _NAMED.search(column):
        values = {name: _cell(row, name) for name in _NAMED.findall(column)}
        if all(map(_is_missing, values.values())):
            return None
        texts = {k: "" if _is_missing(v) else _text(v) for k, v in values.items()}
        return _NAMED.sub(lambda match: texts[match[1]], column)
    if column in row:
        return row[column]
    value: Any = row
    for step in column.split("."):
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _is_missing(value: Any) -> bool:
    return value is None or value in ("", []) or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> str:
    """Return a value as text: numbers, truth values and objects as JSON writes them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, list | tuple | bytes) or not hasattr(value, "__str__"):
        raise ValueError(f"{type(value).__name__} is not a text; name a column that holds texts")
    return str(value)
