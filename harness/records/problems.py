"""Error messages about records that a user wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tunegate.harness.records.errors import unknown_name_message

MOST_PROBLEMS = 50
"""Problems that are shown; the rest are counted."""
MOST_ALIKE = 5
"""Problems of one kind that are shown; if there are more, only the first, with their number."""
_MOST_FAULTS = 3
"""Faults of one record that are shown."""
_VALUES = re.compile(r"\[.*\]|\{.*\}|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[0-9]+")
"""Variable parts of problems of one kind: quoted values, lists, objects and numbers."""


def validation_problem(
    kind: type[BaseModel], error: ValidationError, *, other_names: Mapping[str, str] | None = None
) -> str:
    """Return in one line why pydantic refuses a value as a record of that kind.

    Args:
        kind: The record.
        error: What pydantic raised.
        other_names: Other tools' names of fields → the names here.
    """
    others = other_names or {}
    found = error.errors(include_url=False)
    # A misspelled key is both unknown and missing: only say that it is unknown.
    unknown = [one for one in found if one["type"] == "extra_forbidden" and len(one["loc"]) == 1]
    return "; ".join(_problem(kind, one, others) for one in (unknown or found)[:_MOST_FAULTS])


def _problem(kind: type[BaseModel], error: Mapping[str, Any], others: Mapping[str, str]) -> str:
    *path, last = error["loc"] or ("",)
    place = ".".join(map(str, path))
    if error["type"] == "missing":
        return (f"{place}: " if place else "") + f"the key {last!r} is missing"
    if error["type"] == "extra_forbidden":
        if path:
            return f"{place}: unknown key {last!r}; remove it"
        if last in others:
            return f"unknown key {last!r}; call it {others[last]!r}"
        keys = tuple(field.alias or name for name, field in kind.model_fields.items())
        return unknown_name_message(str(last), keys, what="key")
    place = ".".join(map(str, error["loc"]))
    words = error["msg"].removeprefix("Value error, ")
    if error["type"] == "json_invalid":
        try:
            json.loads(error["input"])
        except json.JSONDecodeError as other:  # whose place and reason are better
            words = json_problem(other)
        except (ValueError, RecursionError):
            pass
    if error["type"] in ("value_error", "json_invalid"):
        return f"{place}: {words}" if place else words
    return f"{place}: {short_value(error['input'])}: {words}" if place else words


def json_problem(error: json.JSONDecodeError) -> str:
    """Return where a text is no JSON, and what to write in place of what other languages have."""
    rest = error.doc[error.pos :]
    remedy = next((text for form, text in _NO_JSON.items() if re.match(form, rest)), "")
    line = f"line {error.lineno}, " if error.lineno > 1 else ""
    return f"broken JSON at {line}column {error.colno}: {error.msg}{remedy}"


_NO_JSON = {
    r"//|#|/\*": "; JSON has no comments: remove it",
    "'": "; texts have double quotes: json.dumps writes them so",
    r"(None|True|False)\b": "; JSON writes null, true and false, as json.dumps does",
}
"""What a text has that JSON lacks → what to do."""


def short_value(value: Any) -> str:
    """Return a value as JSON, cut after 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def summarize_problems(problems: Sequence[str]) -> list[str]:
    """Return the problems; many that differ only in values are shown as one, with their number."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(_VALUES.sub("…", problem), []).append(problem)
    shown = []
    for alike in kinds.values():
        many = len(alike) > MOST_ALIKE
        shown += [f"{alike[0]} ({len(alike) - 1} more rows like it)"] if many else alike
    more = len(shown) - MOST_PROBLEMS
    return [*shown[:MOST_PROBLEMS], *([f"… and {more} more problems"] if more > 0 else [])]


_LFS = b"version https://git-lfs.github.com/spec/"
"""Beginning of a pointer, which git-lfs leaves in place of a file that was not fetched."""


def lfs_problem(path: Path) -> str | None:
    """Return what to do about a pointer of git-lfs; None if the file is not one."""
    try:
        with path.open("rb") as file:
            pointer = file.read(len(_LFS)) == _LFS
    except OSError:  # reading the file will say why
        return None
    return (
        f"{path}: a git-lfs pointer, not the file itself; run `git lfs pull`" if pointer else None
    )
