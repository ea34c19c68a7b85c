"""Validation against the JSON schemas of our own files, with problems in words.

Example:
    >>> schema_problems({"promt": "Where is my parcel?", "prompt": "Hello"}, "case")
    ["unknown key 'promt'; did you mean 'prompt'?"]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from tunegate.harness.defaults import CONFIDENCE
from tunegate.harness.errors import UsageError, unknown_name_message
from tunegate.harness.gate_kind import COMMON_KEYS, ROOM, GateKind, gate_kinds
from tunegate.harness.lookup import module_names
from tunegate.harness.records.problems import short_value

SCHEMAS = Path(__file__).parent / "schemas"


def schema_problems(value: Any, schema: str) -> list[str]:
    """Return what is wrong with `value` under one of our schema files, in words."""
    return [text for _, text in located_problems(value, schema)]


def located_problems(value: Any, schema: str) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the problems as (path of the offending value, sentence), in the order of the paths."""
    errors = sorted(_validator(schema).iter_errors(value), key=lambda e: [*map(_rank, e.path)])
    return [(_place(error), _format_error(error)) for error in errors]


def load_schema(name: str) -> dict[str, Any]:
    """Return one of our JSON schemas; in that of a suite, the gates' part is made by their kinds.

    The file `suite.schema.json` holds the built-in kinds; here those of installed packages join.

    Raises:
        UsageError: a gate kind of an installed package is incomplete, or takes the key of another.
    """
    schema: dict[str, Any] = json.loads(
        (SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")
    )
    if name == "suite":
        _complete_gates(schema["properties"]["gates"]["items"])
    return schema


def _complete_gates(table: dict[str, Any]) -> None:
    """Give the schema of a `[[gates]]` table the keys of all kinds of gates."""
    kinds = gate_kinds()
    _check_kinds(kinds)
    keys = {key: form for kind in kinds for key, form in kind.schema.items()}
    common = {key: table["properties"][key] for key in COMMON_KEYS}
    error = f"{100 * (1 - CONFIDENCE) / 2:.3g} % one-sided"
    described = f"Two-sided confidence of the interval; {CONFIDENCE:.2f} tests at {error}."
    last = {"confidence": {**common.pop("confidence"), "description": described}}
    table["properties"] = {**common, **keys, **last}
    table["anyOf"] = [{"required": [key]} for kind in kinds for key in kind.keys_of_margin]


def _check_kinds(kinds: Sequence[GateKind]) -> None:
    """Refuse an incomplete kind, and two kinds that use one key of a `[[gates]]` table.

    A key that refines both, with the same schema, is shared.

    Raises:
        UsageError: naming the kind and what is missing, or both kinds and the key.
    """
    owners: dict[str, GateKind] = {}
    built_in = module_names(ROOM)
    # The kind of another package comes after the built-in ones, and is the one to change.
    for kind in sorted(kinds, key=lambda k: k.name not in built_in):
        if fault := _fault(kind):
            raise UsageError(f"gate kind {kind.name!r}: {fault}; upgrade or uninstall the package")
        for key in kind.schema:
            other = owners.setdefault(key, kind)
            shared = (
                kind.schema[key] == other.schema[key]
                and key not in kind.keys_of_margin
                and key not in other.keys_of_margin
            )
            if key in COMMON_KEYS or not (other is kind or shared):
                owner = "every gate" if key in COMMON_KEYS else f"the gate kind {other.name!r}"
                raise UsageError(
                    f"gate kind {kind.name!r}: its key {key!r} is also a key of {owner}; rename "
                    f"the key, or uninstall the package that provides {kind.name!r}"
                )


def _fault(kind: GateKind) -> str:
    """Return what a kind lacks for the suite's schema and the reference; "" if nothing."""
    schema, summary = getattr(kind, "schema", None), getattr(kind, "summary", None)
    if not isinstance(schema, Mapping) or not all(isinstance(s, Mapping) for s in schema.values()):
        return "`schema` must map each key of a [[gates]] table to its JSON schema"
    if not set(kind.keys_of_margin) <= set(schema):
        return f"`schema` must have the margin's key {kind.keys_of_margin[0]!r}"
    if not all(isinstance(s.get("description"), str) for s in schema.values()):
        return "each key in `schema` must have a description"
    if not isinstance(summary, str) or not summary:
        return "`summary` must be a sentence on when the gate passes"
    return ""


@cache
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(load_schema(schema))


def _rank(step: str | int) -> tuple[str, int]:
    """Order the tables of an array by number: the tenth after the ninth."""
    return ("", step) if isinstance(step, int) else (step, 0)


def _place(error: Any) -> tuple[str | int, ...]:
    """Return the path of an error; for an unknown key the key itself."""
    path = tuple(error.absolute_path)
    return (*path, _extra(error)[0]) if error.validator == "additionalProperties" else path


def _extra(error: Any) -> list[str]:
    return sorted(set(error.instance) - set(error.schema["properties"]))


def _format_error(error: Any) -> str:
    place = ".".join(map(str, error.absolute_path))
    return (f"{place}: " if place else "") + _explain_error(error)


def _explain_error(error: Any) -> str:
    """Return what is wrong, by the schema's keyword that is violated."""
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
    incomplete = [one for one in error.context if one.validator == "required"]
    if incomplete:
        return _explain_error(incomplete[0])
    inner = [one for one in error.context if one.validator != "type" or one.path]
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
