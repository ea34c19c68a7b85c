"""What a tool call is, whatever syntax it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.metrics._json import shorten


class Malformed(ValueError):
    """A text that tries to call a tool and cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: a tool's name and its arguments, all of them JSON values."""

    name: str
    arguments: Mapping[str, Any]


def call_of(value: Any, *keys: str) -> Call:
    """Return the call that an object with `name` and one of `keys` describes.

    Raises:
        Malformed: it describes none.
    """
    if not isinstance(value, dict):
        raise Malformed(f"{show(value)} is no call")
    name = value.get("name")
    if not isinstance(name, str) or not name:
        raise Malformed(f"a call's name must be a text, not {show(name)}")
    key = next((key for key in keys if key in value), None)
    if key is None:
        raise Malformed(f"the call of {shorten(name, 200)} has no {keys[0]!r}")
    if not isinstance(value[key], dict):
        raise Malformed(f"{key} of {shorten(name, 200)} is {show(value[key])}, not an object")
    return Call(name, value[key])


def show(value: Any, longest: int = 150) -> str:
    """Return a value as a reason shows it."""
    try:
        return shorten(repr(value), longest)
    except RecursionError:
        return "a deeply nested value"
