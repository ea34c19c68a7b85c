"""Types of arguments, as a tool's schema names them.

JSON schema's names and those of Python and BFCL (`float`, `dict`, `tuple`, `any` …) are known; an
unknown name allows everything. As in BFCL's check a whole number is a number, but 1.0 is not a
whole number, and true is neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.metrics._tool_call import format_value

_NAMES = {
    "string": "string", "str": "string",
    "integer": "integer", "int": "integer",
    "number": "number", "float": "number", "double": "number",
    "boolean": "boolean", "bool": "boolean",
    "array": "array", "list": "array", "tuple": "array",
    "object": "object", "dict": "object",
    "null": "null",
}  # fmt: skip
_WORDS = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_PYTHON = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array"}


def type_mismatch(value: Any, schema: Any, place: str) -> str | None:
    """Return which part of a value has a type that its schema does not allow, or None."""
    return _wrong(value, schema, place) or next(
        filter(None, (type_mismatch(*part) for part in _parts(value, schema, place))), None
    )


def allowed_misfit(allowed: Any, schema: Any, place: str) -> str | None:
    """Return the same for an allowed value, whose objects hold lists of allowed values."""
    if isinstance(allowed, dict):
        for key, values in allowed.items():
            if not isinstance(values, list) or not values:
                return f"{place}.{key}={format_value(values)} must be a list of the allowed values"
    return _wrong(allowed, schema, place) or next(
        filter(None, (allowed_misfit(*part) for part in _allowed_parts(allowed, schema, place))),
        None,
    )


def _wrong(value: Any, schema: Any, place: str) -> str | None:
    kinds = allowed_types(schema)
    kind = "null" if value is None else _PYTHON.get(type(value), "object")
    if kinds is None or kind in kinds or (kind == "integer" and "number" in kinds):
        return None
    words = " or ".join(_WORDS[allowed] for allowed in sorted(kinds))
    return f"{place}={format_value(value)} must be {words}"


def allowed_types(schema: Any) -> frozenset[str] | None:
    """Return the types that a schema allows; None if it names none."""
    if not isinstance(schema, Mapping):
        return None
    for key in ("anyOf", "oneOf"):
        branches = schema.get(key)
        if "type" not in schema and isinstance(branches, Sequence):
            branch_types = [allowed_types(branch) for branch in branches]
            named_types = [kinds for kinds in branch_types if kinds is not None]
            return (
                frozenset().union(*named_types)
                if named_types and len(named_types) == len(branch_types)
                else None
            )
    named = schema.get("type")
    names = [str(name).lower() for name in (named if isinstance(named, list) else [named])]
    if not all(name in _NAMES for name in names):
        return None
    kinds = {_NAMES[name] for name in names}
    return frozenset(kinds | {"null"} if schema.get("nullable") is True else kinds)


def _parts(value: Any, schema: Any, place: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield each part of a value with its schema."""
    if isinstance(value, list) and isinstance(items := _schema_value(schema, "items"), Mapping):
        for index, part in enumerate(value):
            yield part, items, f"{place}[{index}]"
    if isinstance(value, dict) and isinstance(
        properties := _schema_value(schema, "properties"), Mapping
    ):
        for key in value.keys() & properties.keys():
            yield value[key], properties[key], f"{place}.{key}"


def _allowed_parts(allowed: Any, schema: Any, place: str) -> Iterator[tuple[Any, Any, str]]:
    if isinstance(allowed, list):
        items = _schema_value(schema, "items")
        for index, part in enumerate(allowed):
            yield part, items, f"{place}[{index}]"
    if isinstance(allowed, dict):
        properties = _schema_value(schema, "properties")
        for key, values in allowed.items():
            for value in values:
                if value not in ("", None):
                    yield value, _schema_value(properties, key), f"{place}.{key}"


def _schema_value(schema: Any, key: str) -> Any:
    return schema.get(key) if isinstance(schema, Mapping) else None
