"""Reading text files and lines of JSON: what can go wrong is said with its place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import SuiteError

LARGEST_FILE = 50_000_000
"""Bytes of a file that is read: a suite is run on every candidate, so it has thousands of lines."""
DEEPEST = 100
"""Levels of nesting in a line; parsers, schemas and writers all recurse."""


def read(path: Path, *, form: str) -> str:
    """Return a UTF-8 file's text; `form` says in messages what the file should hold.

    Raises:
        SuiteError: the file is missing, too large, no file or not UTF-8.
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
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SuiteError(
            [f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8"]
        ) from error


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line) for the lines that are not blank."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def json_object(line: str) -> dict[str, Any]:
    """Return the JSON object that a line holds.

    Raises:
        ValueError: what is wrong, in words, without the place.
    """
    try:
        row = json.loads(
            line, object_pairs_hook=_no_duplicates, parse_constant=_finite, parse_float=_number
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON at column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply to be a case") from error
    except ValueError as error:
        raise ValueError(_in_words(error)) from error
    if not isinstance(row, dict):
        raise ValueError('a line must be an object such as {"prompt": "…"}')
    if _depth(row) > DEEPEST:
        raise ValueError(f"nested too deeply to be a case; at most {DEEPEST} levels are read")
    return row


def _depth(value: Any) -> int:
    """Return the levels of nesting, counted without recursion."""
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


def _in_words(error: ValueError) -> str:
    return "a number with thousands of digits" if "int_max_str" in str(error) else str(error)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice; remove one")
    return row


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _finite(text)


def _finite(text: str) -> Any:
    raise ValueError(f"{text} is not a finite number; JSON has none of the kind")
