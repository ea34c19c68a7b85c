"""TOML files read for people: every problem can be told by file and line.

tomllib gives values without places, so `TomlFile.line` finds the line of a key in the text again.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import SuiteError

_LIMIT = 1_000_000
"""Largest TOML file read, in bytes."""


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A parsed TOML file with its text."""

    path: Path
    data: dict[str, Any]
    text: str = field(repr=False)

    def line(self, *keys: str | int) -> int:
        """Return the line (from 1) of a key such as `("gates", 1, "floor")`, or of its table."""
        lines = self.text.splitlines()
        start, end = self._span(lines, keys)
        name = keys[-1] if keys and isinstance(keys[-1], str) else None
        if name is not None:
            pattern = re.compile(rf"^\s*[\"']?{re.escape(name)}[\"']?\s*[=.]")
            for number in range(start, end):
                if pattern.match(lines[number]):
                    return number + 1
        return start + 1 if lines else 1

    def where(self, *keys: str | int) -> str:
        """Return `file:line` of a key."""
        return f"{self.path}:{self.line(*keys)}"

    def _span(self, lines: list[str], keys: tuple[str | int, ...]) -> tuple[int, int]:
        """Return the lines [start, end) of the table that `keys` begins with."""
        wanted, count = _header(keys)
        headers = [i for i, text in enumerate(lines) if re.match(r"^\s*\[", text)]
        matches = [i for i in headers if re.match(wanted, lines[i])] if wanted else []
        if not matches:
            return 0, headers[0] if headers and not wanted else len(lines)
        start = matches[min(count, len(matches) - 1)]
        return start, next((i for i in headers if i > start), len(lines))


def _header(keys: tuple[str | int, ...]) -> tuple[str | None, int]:
    """Return a pattern for the table header that `keys` names, and which of them is meant."""
    if len(keys) >= 2 and isinstance(keys[1], int):
        return rf"^\s*\[\[\s*{re.escape(str(keys[0]))}\s*\]\]", keys[1]
    if len(keys) >= 2:
        return rf"^\s*\[\s*{re.escape(str(keys[0]))}\s*\]", 0
    return None, 0


def read(path: Path) -> TomlFile:
    """Read a TOML file.

    Raises:
        SuiteError: missing, too large, not UTF-8 or not TOML, with line and column where known.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SuiteError([f"{path}: cannot be read ({error.strerror})"]) from error
    if len(content) > _LIMIT:
        raise SuiteError([f"{path}: {len(content)} bytes; at most {_LIMIT}: cases go into a file"])
    try:
        text = content.decode("utf-8-sig")
        return TomlFile(path, tomllib.loads(text), text)
    except UnicodeDecodeError as error:
        raise SuiteError([f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8"]) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SuiteError([_toml_problem(path, error)]) from error


def _toml_problem(path: Path, error: Exception) -> str:
    found = re.search(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
    if found is None:
        return f"{path}: {error or 'nested too deeply'}"
    reason, line, column = found.groups()
    place = f":{line}:{column}" if line else ""
    return f"{path}{place}: {reason[:1].lower()}{reason[1:]}; TOML strings need quotes"
