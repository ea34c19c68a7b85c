"""The `columns` table of a suite file: case field → column of a team's own table.

Example:
    columns = { prompt = "question", expected = ["answer", "other"], tags = ["topic"] }

A column within another is named with a dot (`answers.text`), several are put together in braces
(`prompt = "{title}: {question}"`). Without `columns`, those that are called as a case's fields are
taken.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from harness.lookup import unknown
from harness.sources._text import json_value

TEXTS = ("id", "prompt", "context", "delimiter", "cluster")
"""Fields that are one text."""
LISTS = ("expected", "choices", "stop", "tags")
"""Fields that may be several texts: a column that holds a list, or several columns."""
STRUCTURES = ("messages", "schema", "tools", "expected_calls")
"""Fields that are lists or objects: a column that holds one, or its JSON text."""
FIELDS = (*TEXTS, *LISTS, *STRUCTURES, "answer")
_NAMED = re.compile(r"\{([^{}]+)\}")


def _checked(columns: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    """Refuse what can be seen to be wrong before a file is opened."""
    for field, column in columns.items():
        wrong = ""
        if field not in FIELDS:
            wrong = unknown(field, FIELDS, what="field of a case")
        elif not column:
            wrong = f"{field} names no column"
        elif isinstance(column, list) and field not in LISTS:
            wrong = f'{field} takes one column; put several together as "{{a}} {{b}}"'
        if wrong:
            raise ValueError(wrong)
    return columns


Columns = Annotated[dict[str, str | list[str]], AfterValidator(_checked)]
"""Case field → column, or several for a field that may be a list."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Turns rows of a table into rows in the form of case.schema.json."""

    columns: Mapping[str, str | Sequence[str]]

    @classmethod
    def of(cls, columns: Columns | None, there: Sequence[str]) -> Fields:
        """Return the mapping of a table that has the columns `there`.

        Raises:
            ValueError: a column does not exist, or none is the prompt; every problem, one a line.
        """
        chosen = {f: f for f in FIELDS if f in there} if columns is None else columns
        problems = [
            f"{field}: {unknown(name, tuple(there), what='column')}"
            for field, column in chosen.items()
            for name in _names(column, there)
            if name not in there and name.partition(".")[0] not in there
        ]
        if not {"prompt", "messages"} & set(chosen):
            problems.append(
                "no column is the prompt; say which: columns = { prompt = … } with one of "
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
    if _missing(value):
        return None
    if field in TEXTS:
        return _text(value)
    if field in STRUCTURES:
        return _structure(field, json_value(value) if isinstance(value, str) else value)
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _structure(field: str, value: Any) -> Any:
    last = value[-1] if isinstance(value, list) and value else None
    if field == "messages" and isinstance(last, Mapping) and last.get("role") == "assistant":
        raise ValueError(
            "the assistant's turn at the end would be part of the question; chat = true, or "
            'from = "chat" for JSON lines, makes it what is expected'
        )
    return value


def _texts(field: str, value: Any) -> str | list[str] | None:
    """Return one text or several, None if there is none."""
    if field == "choices" and isinstance(value, str) and value.lstrip().startswith("["):
        value = json_value(value)
    if isinstance(value, list):
        return [_text(one) for one in value if not _missing(one)] or None
    if _missing(value):
        return None
    return _text(value) if field == "expected" else [_text(value)]


def _cell(row: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column, of one within another, or of a template of them."""
    if column not in row and _NAMED.search(column):
        values = {name: _cell(row, name) for name in _NAMED.findall(column)}
        if all(map(_missing, values.values())):
            return None
        texts = {k: "" if _missing(v) else _text(v) for k, v in values.items()}
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


def _missing(value: Any) -> bool:
    return value is None or value in ("", []) or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> str:
    """Return a value as text: numbers, truth values and objects as JSON writes them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, list | tuple | bytes) or not hasattr(value, "__str__"):
        raise ValueError(f"{type(value).__name__} is no text; name a column that holds texts")
    return str(value)
