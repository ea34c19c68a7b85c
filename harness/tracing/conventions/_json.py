"""Attribute values that are structured, or the same thing written as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def loaded(value: Any) -> Any:
    """Return what a JSON text holds; anything else, a text that is no JSON too, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def structured(value: Any) -> Any:
    """Return the object or array that is meant; None where there is none, or it was cut off."""
    found = loaded(value)
    return found if isinstance(found, Mapping | list | tuple) else None


def written(value: Any) -> str:
    """Return a text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return f"<{type(value).__name__}>"
