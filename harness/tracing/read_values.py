"""OTLP's attribute values as JSON → plain Python: texts, numbers, booleans, lists and dicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.tracing.reading import Reading


def attributes(raw: Any, reading: Reading, where: str) -> dict[str, Any]:
    """Return attributes as plain Python; those that have no known form are counted."""
    if raw is None:
        return {}
    if isinstance(raw, Mapping):  # not OTLP, but what hand-made files have
        return dict(raw)
    if not isinstance(raw, list):
        reading.leave_out("attributes that are no list", where)
        return {}
    found: dict[str, Any] = {}
    for pair in raw:
        try:
            key = pair["key"]
            found[key if isinstance(key, str) else str(key)] = value(pair.get("value", {}))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            reading.leave_out("an attribute that is no key with a value of a known type", where)
        except RecursionError:
            reading.leave_out("an attribute that is nested too deeply", where)
    return found


def value(raw: Any) -> Any:
    """Return an AnyValue as plain Python; bytes stay base64.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    if isinstance(raw, Mapping):
        for kind, inner in raw.items():
            read = _KINDS.get(kind)
            if read is not None:
                return read(inner)
        if not raw:
            return None
    raise ValueError("no value of a known type")


def snake(name: str) -> str:
    """Return protobuf's own spelling of a field, `trace_id` of `traceId`."""
    return re.sub("([A-Z])", lambda found: "_" + found[1].lower(), name)


def _list(raw: Any) -> list[Any]:
    values = raw.get("values", []) if isinstance(raw, Mapping) else None
    if not isinstance(values, list):
        raise ValueError("no array")
    return [value(inner) for inner in values]


def _pairs(raw: Any) -> dict[str, Any]:
    values = raw.get("values", []) if isinstance(raw, Mapping) else None
    if not isinstance(values, list) or not all(isinstance(pair, Mapping) for pair in values):
        raise ValueError("no key-value list")
    return {str(pair.get("key", "")): value(pair.get("value", {})) for pair in values}


def _only(kind: type) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        if not isinstance(raw, kind):
            raise ValueError(f"no {kind.__name__}")
        return raw

    return read


def _integer(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise ValueError("no integer")
    return int(raw)


def _number(raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError("no number")
    return float(raw)


_KINDS: dict[str, Callable[[Any], Any]] = {
    "stringValue": _only(str),
    "intValue": _integer,
    "doubleValue": _number,
    "boolValue": _only(bool),
    "arrayValue": _list,
    "kvlistValue": _pairs,
    "bytesValue": _only(str),
}


_KINDS |= {snake(kind): read for kind, read in _KINDS.items()}
