"""The source contract: options of the `[cases]` table → cases, each with the place it came from.

A source is a function `<x>(folder, **options) -> Iterator[SourcedCase]` in `harness/sources/<x>.py`.
It collects the problems of all lines and raises one `SuiteError`, so that one edit mends them all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.lookup import unknown
from harness.records import Case, sha256

SCHEMAS = Path(__file__).parent / "schemas"


@dataclass(frozen=True, slots=True)
class SourcedCase:
    """A case and the file and line it came from."""

    case: Case
    where: str


def make_case(row: Mapping[str, Any]) -> Case:
    """Turn a row in the form of case.schema.json into a Case.

    A letter in `answer` becomes an index, an absent `id` the hash of the content.

    Raises:
        ValueError: what is wrong, in words, without the place.
    """
    problems = schema_problems(row, "case")
    if problems:
        raise ValueError("; ".join(problems))
    fields = dict(row)
    if isinstance(fields.get("answer"), str):
        fields["answer"] = ord(fields["answer"]) - ord("A")
    if "answer" in fields and fields["answer"] >= len(fields["choices"]):
        raise ValueError(
            f"answer={row['answer']!r} names no choice: there are {len(fields['choices'])}"
        )
    fields.setdefault("id", sha256(dict(row))[:12])
    return Case.model_validate(fields)


def schema_problems(value: Any, schema: str) -> list[str]:
    """Return what is wrong with `value` under one of our schema files, in words."""
    return [text for _, text in located_problems(value, schema)]


def located_problems(value: Any, schema: str) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the problems as (path of the offending value, sentence), in the order of the paths."""
    errors = sorted(_validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path)))
    return [(_place(error), _in_words(error)) for error in errors]


def _place(error: Any) -> tuple[str | int, ...]:
    """Return the path of an error; for an unknown key the key itself."""
    if error.validator == "additionalProperties":
        extra = sorted(set(error.instance) - set(error.schema["properties"]))
        return (*error.absolute_path, extra[0])
    return tuple(error.absolute_path)


@cache
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    text = (SCHEMAS / f"{schema}.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def _in_words(error: Any) -> str:
    place = ".".join(str(step) for step in error.absolute_path)
    prefix = f"{place}: " if place else ""
    if error.validator == "additionalProperties":
        allowed = tuple(sorted(error.schema["properties"]))
        extra = sorted(set(error.instance) - set(allowed))
        return prefix + "; ".join(unknown(key, allowed, what="key") for key in extra)
    if error.validator == "oneOf" and error.schema.get("title") == "tunegate case":
        return prefix + "a case needs either 'prompt' or 'messages', not both and not neither"
    if error.validator == "anyOf" and "floor" in str(error.schema.get("properties", "")):
        return prefix + "a gate needs at least one of floor, ceiling, gain, tolerance"
    if error.validator in ("anyOf", "oneOf"):
        kinds = " or ".join(_kind(option) for option in error.validator_value)
        return f"{prefix}{_short(error.instance)} must be {kinds}"
    if error.validator == "type":
        return f"{prefix}{_short(error.instance)} must be of type {error.validator_value}"
    return prefix + error.message


def _kind(option: Mapping[str, Any]) -> str:
    if "pattern" in option:
        return f"a {option['type']} like {option['pattern']}"
    if "exclusiveMinimum" in option:
        return f"a {option['type']} above {option['exclusiveMinimum']}"
    return f"of type {option.get('type', 'any')}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
