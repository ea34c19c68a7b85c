"""Validation against the JSON schemas of our own files, with readable problems.

Example:
    >>> schema_problems({"promt": "Where is my parcel?", "prompt": "Hello"}, case_validator())
    ["unknown key 'promt'; did you mean 'prompt'?"]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import unknown_name_message
from tunegate.harness.records.problems import short_value

SCHEMAS = Path(__file__).parents[1] / "records" / "schemas"


def schema_problems(value: Any, validator: Any) -> list[str]:
    """Return the problems of `value`, one sentence each."""
    return [text for _, text in located_problems(value, validator)]


def located_problems(value: Any, validator: Any) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the problems as (path of the offending value, sentence), in the order of the paths."""
    errors = sorted(validator.iter_errors(value), key=lambda e: [*map(_rank, e.path)])
    return [(_place(error), _format_error(error)) for error in errors]


def read_schema(name: str) -> dict[str, Any]:
    """Return one of our schema files: `suite`, `case`, `verdict` …"""
    schema: dict[str, Any] = json.loads(
        (SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")
    )
    return schema


def validator_of(schema: Mapping[str, Any]) -> Any:
    """Return jsonschema's validator of a schema."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema)


@cache
def case_validator() -> Any:
    """Return the validator of a case."""
    return validator_of(read_schema("case"))


def _rank(step: str | int) -> tuple[str, int]:
    """Sort the items of an array by number."""
    return ("", step) if isinstance(step, int) else (step, 0)


def _place(error: Any) -> tuple[str | int, ...]:
    """Return the path of an error, down to the key if it is unknown."""
    path = tuple(error.absolute_path)
    return (*path, _extra(error)[0]) if error.validator == "additionalProperties" else path


def _extra(error: Any) -> list[str]:
    return sorted(set(error.instance) - set(error.schema["properties"]))


def _format_error(error: Any) -> str:
    place = ".".join(map(str, error.absolute_path))
    return (f"{place}: " if place else "") + _explain_error(error)


def _explain_error(error: Any) -> str:
    """Return the problem for the schema's keyword that is violated."""
    keyword, wanted = error.validator, error.validator_value
    if keyword in ("anyOf", "oneOf"):
        return _no_alternative(error)
    if keyword == "additionalProperties":
        allowed = tuple(sorted(error.schema["properties"]))
        return "; ".join(unknown_name_message(key, allowed, what="key") for key in _extra(error))
    if keyword == "required":
        return f"the key {error.message.partition(' is a')[0]} is missing"
    if keyword == "dependentRequired":
        return "'answer' needs 'choices' next to it"
    if keyword == "enum":
        return _allowed_values_message(error.instance, wanted)
    if keyword == "minLength" and wanted == 1:
        return f"{short_value(error.instance)} must not be empty"
    if keyword in _LIMITS:
        return f"{short_value(error.instance)} must be {_LIMITS[keyword].format(wanted)}"
    return f"{short_value(error.instance)} must be {_kind(error.schema)}"


def _no_alternative(error: Any) -> str:
    if error.schema.get("title") == "tunegate case":
        return "a case needs either 'prompt' or 'messages', and only one of them"
    if error.schema.get("title") == "tunegate gate":
        keys = [key for option in error.validator_value for key in option["required"]]
        return f"a gate needs at least one of {', '.join(keys)}"
    incomplete = [cause for cause in error.context if cause.validator == "required"]
    if incomplete:
        return _explain_error(incomplete[0])
    inner = [cause for cause in error.context if cause.validator != "type" or cause.path]
    if inner and isinstance(error.instance, dict):  # a table, and something in it is wrong
        place = ".".join(map(str, inner[0].path))
        return (f"{place}: " if place else "") + _explain_error(inner[0])
    kinds = " or ".join(_kind(option) for option in error.validator_value)
    return f"{short_value(error.instance)} must be {kinds}"


def _allowed_values_message(value: Any, allowed: Sequence[str]) -> str:
    choices = ", ".join(map(repr, allowed))
    near = get_close_matches(value, allowed, n=1) if isinstance(value, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{short_value(value)} must be one of {choices}{hint}"


_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "above {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} long",
    "minLength": "at least {} characters long",
    "maxLength": "at most {} characters long",
}
"""Keyword of JSON schema → what it asks for."""
_TYPES = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "array": "a list",
    "object": "an object",
}


def _kind(schema: Mapping[str, Any]) -> str:
    """Return what a value must be; of a pattern its description."""
    if "pattern" in schema:
        return str(schema["description"])
    kind = _TYPES[schema["type"]]
    return f"{kind} above {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else kind
