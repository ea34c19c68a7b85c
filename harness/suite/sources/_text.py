"""Reading text files, JSON and CSV, with errors that name the line."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.problems import json_problem, lfs_problem

Row = tuple[str, Mapping[str, Any] | str]
"""The place of a row, and the row, or its error message."""

LARGEST_FILE = 50_000_000
"""Largest file that is read, in bytes; suites have thousands of lines at most."""
_EXAMPLE = '{"prompt": "…"}'
DEEPEST = 100
"""Most levels of nesting in a line, since parsers, schemas and writers recurse."""


def read_text(path: Path, *, form: str) -> str:
    """Return the text of a UTF-8 file; `form` tells in messages what it should hold.

    Raises:
        SuiteError: the file is missing, too large, not a file or not UTF-8.
    """
    try:
        size = path.stat().st_size if path.is_file() else 0
        if size > LARGEST_FILE:
            raise SuiteError(
                [f"{path}: {size} bytes, at most {LARGEST_FILE} are read; leave cases out"]
            )
        if path.exists() and not path.is_file():
            raise SuiteError([f"{path}: not a file; {form}"])
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SuiteError([f"{path}: cannot be read ({reason}); {form}"]) from error
    if pointer := lfs_problem(path):
        raise SuiteError([pointer])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        utf_16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        raise SuiteError(
            [
                f"{path}:{line}: not UTF-8 (byte {content[error.start]:#04x}); save it as UTF-8: "
                f"iconv -f {'UTF-16' if utf_16 else 'WINDOWS-1252'} -t UTF-8 {path.name} > new"
            ]
        ) from error


def json_value(text: str) -> Any:
    """Return the value of a JSON text with finite numbers and no repeated keys.

    Raises:
        ValueError: what is wrong, without the place.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_no_duplicates, parse_constant=_finite, parse_float=_number
        )
    except json.JSONDecodeError as error:
        raise ValueError(json_problem(error)) from error
    except RecursionError as error:
        raise ValueError("nested too deeply to be a case") from error
    except ValueError as error:
        raise ValueError(_format_error(error)) from error


def _object(row: Any, what: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(f"{what} must be an object such as {_EXAMPLE}")
    if _depth(row) > DEEPEST:
        raise ValueError(f"nested too deeply to be a case; at most {DEEPEST} levels are read")
    return row


def json_rows(path: Path, *, form: str) -> Iterator[Row]:
    """Yield the objects of a file: the items of a list in a `.json` file, else one per line.

    Raises:
        SuiteError: the file cannot be read, or is not a JSON list.
    """
    text = read_text(path, form=form)
    if path.suffix != ".json":
        if text.lstrip().startswith("[") and text.rstrip().endswith("]"):
            raise SuiteError([f"{path}:1: a JSON list; {form}, or name the file .json"])
        if text.strip() and "{" not in text:
            raise SuiteError(
                [
                    f"{path}:1: no line is a JSON object; {form}, such as {_EXAMPLE}, or for CSV "
                    f'write under [cases]: from = "csv", file = {json.dumps(path.name)}'
                ]
            )
        lines = enumerate(text.split("\n"), start=1)
        yield from ((f"{path}:{n}", _parse_line(line)) for n, line in lines if line.strip())
        return
    try:
        rows = json_value(text)
        if not isinstance(rows, list):
            raise ValueError("must be a list of objects; write JSON lines as .jsonl")
    except ValueError as error:
        raise SuiteError([f"{path}: {error}"]) from error
    for number, row in enumerate(rows, start=1):
        place = f"{path}: row {number}"
        try:
            yield place, _object(row, "a row")
        except ValueError as error:
            yield place, str(error)


def _parse_line(line: str) -> dict[str, Any] | str:
    try:
        return _object(json_value(line), "a line")
    except ValueError as error:
        return str(error)


def csv_lines(text: str, delimiter: str = ",") -> Iterator[tuple[int, list[str] | str]]:
    """Yield (first line, fields) for each record that is not blank.

    If the quotes are broken, the last item is the error message.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for fields in reader:
            began, line = line, reader.line_num + 1
            if fields:
                yield began, fields
    except csv.Error as error:
        yield line, f"broken CSV ({error}); check the quotes"


def csv_rows(path: Path, delimiter: str) -> tuple[list[str], list[Row]]:
    """Return a CSV file's column names and its rows as column → text.

    Raises:
        SuiteError: the file cannot be read, is empty, or its first line names no columns.
    """
    form = "the first line names the columns, every other one is a case"
    records = csv_lines(read_text(path, form=form), delimiter)
    line, names = next(records, (1, f"the file is empty; {form}"))
    if isinstance(names, str):
        raise SuiteError([f"{path}:{line}: {names}"])
    names = [name.strip() for name in names]
    wrong = _header_problem(names, delimiter)
    if wrong:
        raise SuiteError([f"{path}:{line}: {wrong}"])
    return names, [(f"{path}:{at}", _record(names, fields, delimiter)) for at, fields in records]


def _record(names: Sequence[str], fields: list[str] | str, delimiter: str) -> dict[str, str] | str:
    if isinstance(fields, str):
        return fields
    if len(fields) != len(names):
        return (
            f"{len(fields)} columns, the first line has {len(names)}; quote a text that has "
            f"{delimiter!r} or a line's end in it"
        )
    return dict(zip(names, fields, strict=True))


def _header_problem(names: Sequence[str], delimiter: str) -> str:
    twice = next((name for name, times in Counter(names).items() if name and times > 1), None)
    if twice is not None:
        return f"two columns are called {twice!r}; rename one"
    other = next((mark for mark in ";\t|," if mark != delimiter and mark in names[0]), None)
    if len(names) == 1 and other is not None:
        return f"one column only, with {other!r} in its name; set delimiter = {json.dumps(other)}"
    return ""


def _depth(value: Any) -> int:
    """Return the levels of nesting, without recursion."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth - 1


def _format_error(error: ValueError) -> str:
    return "a number with thousands of digits" if "int_max_str" in str(error) else str(error)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key, times in Counter(keys).items() if times > 1)
        raise ValueError(f"the key {twice!r} occurs twice; remove one")
    return row


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _finite(text)


def _finite(text: str) -> Any:
    raise ValueError(f"{text} is not a finite number, which JSON does not allow")
