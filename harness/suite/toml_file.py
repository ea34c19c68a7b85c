"""TOML files with line numbers for error messages.

tomllib drops line numbers, so `TomlFile.line` searches the text for a key.
"""

from __future__ import annotations

import math
import re
import tomllib
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.files import read_file

_LIMIT = 1_000_000
"""Largest TOML file read, in bytes."""
DEEPEST = 50
"""Most levels of nesting, since readers, checks and writers recurse."""


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A parsed TOML file with its text."""

    path: Path
    data: dict[str, Any]
    text: str = field(repr=False)

    def line(self, *keys: str | int) -> int:
        """Return the line (from 1) of a key such as `("gates", 1, "floor")`.

        If the text writes it in another way (an inline table, a dotted key), it is the line of the
        nearest table that can be found.
        """
        lines, _ = _split_lines(self.text)
        start, end = self._span(keys)
        names = [key for key in reversed(keys) if isinstance(key, str)]
        for name in names if start == 0 else names[:1]:
            pattern = re.compile(rf"^\s*[\"']?{re.escape(name)}[\"']?\s*[=.]")
            for number in range(start, end):
                if pattern.match(lines[number]):
                    return number + 1
        header = re.compile(rf"^\s*\[\s*{re.escape(str(keys[0]))}\s*\]") if keys else None
        tables = (i for i, text in enumerate(lines) if header and header.match(text))
        return (next(tables, start) if len(keys) == 1 else start) + 1

    def where(self, *keys: str | int) -> str:
        """Return `file:line` of a key."""
        return f"{self.path}:{self.line(*keys)}"

    def _span(self, keys: tuple[str | int, ...]) -> tuple[int, int]:
        """Return the lines [start, end) of the table that `keys` starts with."""
        wanted, count = _header(keys)
        lines, headers = _split_lines(self.text)
        matches = _find_headers(self.text, wanted) if wanted else ()
        if not matches:
            return 0, headers[0] if headers and not wanted else len(lines)
        start = matches[min(count, len(matches) - 1)]
        after = bisect_right(headers, start)
        return start, headers[after] if after < len(headers) else len(lines)


# a suite with hundreds of metrics and gates looks up thousands of lines
@lru_cache(maxsize=2)
def _split_lines(text: str) -> tuple[Sequence[str], Sequence[int]]:
    """Return the lines of a text, and which are table headers."""
    lines = text.splitlines()
    return lines, [i for i, line in enumerate(lines) if re.match(r"^\s*\[", line)]


@lru_cache(maxsize=16)
def _find_headers(text: str, pattern: str) -> Sequence[int]:
    """Return the lines of the matching table headers."""
    lines, headers = _split_lines(text)
    return [i for i in headers if re.match(pattern, lines[i])]


def _header(keys: tuple[str | int, ...]) -> tuple[str | None, int]:
    """Return a pattern for the table header of `keys`, and the index of the match."""
    if len(keys) >= 2 and isinstance(keys[1], int):
        return rf"^\s*\[\[\s*{re.escape(str(keys[0]))}\s*\]\]", keys[1]
    if len(keys) >= 2:
        return rf"^\s*\[\s*{re.escape(str(keys[0]))}\s*\]", 0
    return None, 0


def read_toml(path: Path) -> TomlFile:
    """Read a TOML file."""
    try:
        content = read_file(path, _LIMIT)
    except OSError as error:
        raise SuiteError([f"{path}: cannot be read ({error.strerror})"]) from error
    try:
        text = content.decode("utf-8-sig")
        file = TomlFile(path, tomllib.loads(text), text)
    except UnicodeDecodeError as error:
        raise SuiteError([f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8"]) from error
    except (ValueError, RecursionError) as error:
        raise SuiteError([_toml_problem(path, text, error)]) from error
    problems = [f"{file.where(*keys)}: {problem}" for keys, problem in _unusable(file.data)]
    if problems:
        raise SuiteError(problems)
    return file


def _unusable(data: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the values that TOML allows but suites do not."""
    rest: deque[tuple[tuple[str | int, ...], Any]] = deque([((), data)])
    while rest:
        keys, value = rest.popleft()
        if isinstance(value, float) and not math.isfinite(value):
            yield keys, f"{value} is not a finite number"
        elif isinstance(value, dict | list) and len(keys) >= DEEPEST:
            yield keys, f"nested too deeply; at most {DEEPEST} levels are read"
        elif isinstance(value, dict):
            rest += [((*keys, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            rest += [((*keys, index), inner) for index, inner in enumerate(value)]


def _toml_problem(path: Path, text: str, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"{path}: nested too deeply; at most {DEEPEST} levels are read"
    if "int_max_str" in str(error):
        return f"{path}: a number with thousands of digits"
    position = re.search(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
    if position is None:
        return f"{path}: {error}"
    reason, line, column = position.groups()
    place = f":{line}:{column}" if line else ""
    remedy = _remedy(reason, text, int(line or 0))
    return f"{path}{place}: {reason[:1].lower()}{reason[1:]}{remedy}"


def _remedy(reason: str, text: str, line: int) -> str:
    """Return a remedy for tomllib's complaint, with the line of a repeated key."""
    if reason == "Invalid value":
        return "; texts need quotes, numbers a digit before the point"
    at = text.split("\n")[line - 1] if line else ""
    if comma := re.search(r"=\s*([-+]?\d+),(\d+)\s*(#|\r?$)", at):
        return f" ({comma[1]},{comma[2]}); numbers have a point: {comma[1]}.{comma[2]}"
    if not line or not re.search("overwrite|twice|mutate", reason):
        return ""
    lines = text.splitlines()
    # tomllib may report the line after the key
    for number in (line, line - 1):
        same = _find_repeated(lines, number)
        if same:
            return f"; it is on line {same} too: remove one"
    return "; it is defined twice: remove one"


def _find_repeated(lines: list[str], number: int) -> int | None:
    """Return the earlier line of the same table with the same key or header."""
    key = re.match(r"^\s*(\[[^\]]*\]|[^=\[]+?)\s*(=|$)", lines[number - 1] if number else "")
    if key is None:
        return None
    header = key[1].startswith("[")
    for earlier in range(number - 1, 0, -1):
        if re.match(rf"^\s*{re.escape(key[1])}\s*(=|#|$)", lines[earlier - 1]):
            return earlier
        if not header and re.match(r"^\s*\[", lines[earlier - 1]):
            return None
    return None
