"""Columns of a table → the fields of a case.

The `columns` table of a suite file maps a field to a column. A column inside another is named with
a dot (`answers.text`); several are joined in braces (`prompt = "{title}: {question}"`). Without
`columns`, those named like a case's fields are taken.

Example:
    columns = { prompt = "question", expected = ["answer", "other"], tags = ["topic"] }
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from tunegate.harness.records.errors import unknown_name_message
from tunegate.harness.suite.sources._text import json_value

TEXTS = ("id", "prompt", "context", "delimiter", "cluster", "database", "prefix")
"""Fields that hold one text."""
LISTS = ("expected", "choices", "stop", "tags", "tests", "positive", "negative")
"""Fields that may hold several texts: a column with lists, or several columns."""
STRUCTURES = ("messages", "schema", "tools", "expected_calls", "grades", "objects")
"""Fields that hold lists, objects or true: a column with them, or with their JSON text."""
FIELDS = (*TEXTS, *LISTS, *STRUCTURES, "answer")
_NAMED = re.compile(r"\{([^{}]+)\}")


def _check_columns(columns: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    """Refuse mistakes that show before a file is opened."""
    for field, column in columns.items():
        wrong = ""
        if field not in FIELDS:
            wrong = unknown_name_message(field, FIELDS, what="field of a case")
        elif not column:
            wrong = f"{field} names no column"
        elif isinstance(column, list) and field not in LISTS:
            wrong = f'{field} takes one column; join several as "{{a}} {{b}}"'
        if wrong:
            raise ValueError(wrong)
    return columns


Columns = Annotated[dict[str, str | list[str]], AfterValidator(_check_columns)]
"""Case field → column, or several columns for a field in `LISTS`."""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Turns rows of a table into rows in the form of case.schema.json."""

    columns: Mapping[str, str | Sequence[str]]

    @classmethod
    def of(cls, columns: Columns | None, there: Sequence[str]) -> ColumnMapping:
        """Return the mapping of a table that has the columns `there`.

        Raises:
            ValueError: a column does not exist, or none is the prompt; one problem a line.
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
        """Return the case fields of a row, without empty cells.

        Raises:
            ValueError: a value does not fit its field, or the prompt is empty.
        """
        cells = {}
        for field, column in self.columns.items():
            try:
                value = _field(field, column, row)
            except ValueError as error:
                raise ValueError(f"{field}: {error}") from error
            if value is not None:
                cells[field] = value
        if not {"prompt", "messages"} & set(cells):
            prompt_columns = [self.columns[f] for f in ("prompt", "messages") if f in self.columns]
            raise ValueError(f"the prompt is empty (column {prompt_columns[0]!r})")
        return cells


def _names(column: str | Sequence[str], there: Sequence[str]) -> Sequence[str]:
    """Return the columns that an entry names."""
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
        return value  # the right answer calls nothing
    if _is_missing(value):
        return None
    if field == "prompt" and isinstance(value, list):
        raise ValueError(
            "a list is not a text; for a list of turns, write messages instead of prompt"
        )
    if field in TEXTS:
        return _text(value)
    if field in STRUCTURES:
        return json_value(value) if isinstance(value, str) else value
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _texts(field: str, value: Any) -> str | list[str] | None:
    """Return one text, several, or None."""
    if field == "choices" and isinstance(value, str) and value.lstrip().startswith("["):
        value = json_value(value)
    if isinstance(value, list):
        return [_text(item) for item in value if not _is_missing(item)] or None
    if _is_missing(value):
        return None
    return _text(value) if field == "expected" else [_text(value)]


def _cell(row: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column, of a nested one, or of a template of columns."""
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
    """Return a value as text; numbers, booleans and objects as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, list | tuple | bytes) or not hasattr(value, "__str__"):
        raise ValueError(f"{type(value).__name__} is not a text; name a column that holds texts")
    return str(value)
