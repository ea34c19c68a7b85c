"""Tool definition: what a model is shown of a Python function that it may call.

The name, the docstring in Google's style and the annotations become a definition in the format of
OpenAI's API and of chat templates. It equals that of `transformers.utils.get_json_schema`, which
TRL uses in training; Transformers takes seconds to import, and may not be installed.

Example:
    >>> def find(order: str) -> str:
    ...     '''Find an order.
    ...
    ...     Args:
    ...         order: Its number.
    ...     '''
    >>> tool_definition(find)["function"]["parameters"]["properties"]
    {'order': {'type': 'string', 'description': 'Its number.'}}
"""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from tunegate.harness.records.errors import error_reason

_SCALARS: dict[type, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
}
_CONTAINERS: dict[Any, str] = {list: "array", tuple: "array", dict: "object"}
_SUMMARY = re.compile(r"^(.*?)[\n\s]*(Args:|Returns:|Raises:|\Z)", re.DOTALL)
_ARGUMENTS = re.compile(r"\n\s*Args:\n(.*?)[\n\s]*(Returns:|Raises:|\Z)", re.DOTALL)
_RETURNS = re.compile(r"\n\s*Returns:\n\s*(.*?)[\n\s]*(Raises:|\Z)", re.DOTALL)
_ARGUMENT = re.compile(
    r"(?:^|\n)([ \t]*)(\w+)(?:[ \t]*\([^()\n]*\))?:\s*(.*?)\s*"
    r"(?=\n(?!\1[ \t])[ \t]*\w+(?:[ \t]*\([^()\n]*\))?:|\Z)",
    re.DOTALL,
)
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)


class UndefinableTool(ValueError):
    """A function that cannot be shown to a model; the message says what it lacks."""


def tool_definition(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the definition of a function in OpenAI's format.

    Raises:
        UndefinableTool: it has no docstring, or an argument without annotation or description.
    """
    name = getattr(function, "__name__", "operation")
    text = (inspect.getdoc(function) or "").strip()
    if not text:
        raise UndefinableTool(f"{name} has no docstring, which describes the tool to the model")
    described = _described_arguments(text)
    schema = _parameters(function, name)
    returned = schema["properties"].pop("return", None)
    for argument, form in schema["properties"].items():
        if argument not in described:
            raise UndefinableTool(
                f"{name}: the docstring does not describe {argument!r}; add a line "
                f"'{argument}: …' under 'Args:'"
            )
        form |= _described_form(described[argument], f"{name}: {argument}")
    summary = _SUMMARY.search(text)
    definition: dict[str, Any] = {
        "name": name,
        "description": summary.group(1).strip() if summary else None,
        "parameters": schema,
    }
    if returned is not None:
        described_return = _RETURNS.search(text)
        if described_return:
            returned["description"] = described_return.group(1).strip()
        definition["return"] = returned
    return {"type": "function", "function": definition}


def _described_arguments(text: str) -> dict[str, str]:
    """Return argument → its description under `Args:`."""
    block = _ARGUMENTS.search(text)
    if block is None:
        return {}
    lines = "\n".join(line for line in block.group(1).split("\n") if line.strip())
    return {
        name: re.sub(r"\s*\n+\s*", " ", description.strip())
        for _, name, description in _ARGUMENT.findall(lines)
    }


def _described_form(text: str, place: str) -> dict[str, Any]:
    """Return the description of an argument, with the choices at its end as an enum."""
    choices = _CHOICES.search(text)
    if choices is None:
        return {"description": text}
    try:
        values = json.loads(choices.group(1))
        allowed = [value.strip() if isinstance(value, str) else value for value in values]
    except (ValueError, TypeError) as error:
        raise UndefinableTool(f"{place}: '(choices: …)' is not a JSON list") from error
    return {"enum": allowed, "description": text[: choices.start()].strip()}


def _parameters(function: Callable[..., Any], name: str) -> dict[str, Any]:
    """Return the JSON schema of a function's parameters, with the returned value as `return`."""
    named = dict(inspect.signature(function).parameters)
    first = next(iter(named), None)
    if first in ("self", "cls") and named[first].annotation is inspect.Parameter.empty:
        del named[first]
    properties = {}
    for argument, hint in _annotations(function, named, name).items():
        try:
            properties[argument] = _schema_of(hint, f"{name}: {argument}")
        except UndefinableTool:
            if argument != "return":  # the model never writes it
                raise
    needed = [p.name for p in named.values() if p.default is inspect.Parameter.empty]
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return schema | ({"required": needed} if needed else {})


def _annotations(
    function: Callable[..., Any], named: Mapping[str, inspect.Parameter], name: str
) -> dict[str, Any]:
    """Return parameter, or `return`, → annotation."""
    for parameter in named.values():
        if parameter.annotation is inspect.Parameter.empty:
            raise UndefinableTool(f"{name}: {parameter.name} has no annotation, such as `: str`")
    try:
        hints = typing.get_type_hints(function)
    except Exception as error:  # a user's annotation may raise anything
        raise UndefinableTool(
            f"{name}: its annotations cannot be read ({error_reason(error)})"
        ) from error
    return {key: hint for key, hint in hints.items() if key in named or key == "return"}


def _schema_of(hint: Any, place: str) -> dict[str, Any]:
    """Return the JSON schema of an annotation."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is None:
        return _bare_schema(hint, place)
    if origin in (Union, types.UnionType):
        return _union_schema(args, place)
    if origin is Literal:
        return _enum_schema(list(args), place)
    return _container_schema(origin, args, hint, place)


def _bare_schema(hint: Any, place: str) -> dict[str, Any]:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum_schema([member.value for member in hint], place)
    if hint is Any:
        return {}
    kind = _SCALARS.get(hint) or _CONTAINERS.get(hint)
    if kind is None:
        raise UndefinableTool(
            f"{place}: {getattr(hint, '__name__', hint)} has no JSON form; annotate it with "
            "str, int, float, bool, list, dict, Literal, an Enum or a union of them"
        )
    return {"type": kind}


def _container_schema(origin: Any, args: tuple[Any, ...], hint: Any, place: str) -> dict[str, Any]:
    if origin is list:
        return {"type": "array", "items": _schema_of(args[0], place)}
    if origin is dict and len(args) == 2:
        return {"type": "object", "additionalProperties": _schema_of(args[1], place)}
    if origin is tuple and len(args) > 1 and ... not in args:
        return {"type": "array", "prefixItems": [_schema_of(item, place) for item in args]}
    raise UndefinableTool(f"{place}: {hint} has no JSON form; use list[…] or dict[str, …]")


def _union_schema(args: tuple[Any, ...], place: str) -> dict[str, Any]:
    inner = [_schema_of(item, place) for item in args if item is not type(None)]
    schema: dict[str, Any]
    if len(inner) == 1:
        schema = inner[0]
    elif all(item.keys() == {"type"} and isinstance(item["type"], str) for item in inner):
        names = sorted({item["type"] for item in inner})
        schema = {"type": names[0] if len(names) == 1 else names}
    else:
        schema = {"anyOf": inner}
    return schema | ({"nullable": True} if type(None) in args else {})


def _enum_schema(values: list[Any], place: str) -> dict[str, Any]:
    if not values or any(type(value) not in _SCALARS for value in values):
        raise UndefinableTool(f"{place}: the allowed values must be texts, numbers or booleans")
    kinds = list(dict.fromkeys(_SCALARS[type(value)] for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}
