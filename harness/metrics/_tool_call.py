"""A tool call, read from an object with a name and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.harness.metrics._json_parsing import shorten_text


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call: a tool's name and its arguments, all of them JSON values."""

    name: str
    arguments: Mapping[str, Any]


class MalformedCall(ValueError):
    """A call that cannot be read; the message says why."""


def call_of(value: Any, *keys: str) -> ToolCall:
    """Return the call that an object with `name` and one of `keys` describes.

    Raises:
        MalformedCall: it does not describe a call.
    """
    if not isinstance(value, dict):
        raise MalformedCall(f"{format_value(value)} is not a call")
    name = value.get("name")
    if not isinstance(name, str) or not name:
        raise MalformedCall(f"a call's name must be a text, not {format_value(name)}")
    key = next((key for key in keys if key in value), None)
    if key is None:
        raise MalformedCall(f"the call of {shorten_text(name, 200)} has no {keys[0]!r}")
    if not isinstance(value[key], dict):
        raise MalformedCall(
            f"{key} of {shorten_text(name, 200)} is {format_value(value[key])}, not an object"
        )
    return ToolCall(name, value[key])


def format_value(value: Any, longest: int = 150) -> str:
    """Return a value's short repr, for a reason."""
    try:
        return shorten_text(repr(value), longest)
    except RecursionError:
        return "a deeply nested value"
