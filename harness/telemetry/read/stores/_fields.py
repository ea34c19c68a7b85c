"""Fields of stores' records → those of OTLP."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tunegate.harness.telemetry.read.records import SPAN_ID, TRACE_ID, FileRecord

_DIGITS = frozenset("0123456789abcdef")
NUMBERS = (
    "gen_ai.request.", "gen_ai.usage.", "llm.token_count.", "ai.settings.", "ai.usage.",
)  # fmt: skip
"""How the names of attributes begin whose values are numbers where a store writes texts."""


def make_record(  # noqa: PLR0913 - each is a field of a span
    where: str,
    *,
    trace: str,
    span: str,
    parent: str | None = None,
    name: str | None = "",
    start_s: float | None = None,
    end_s: float | None = None,
    attributes: Mapping[str, Any] | None = None,
    events: Iterable[Mapping[str, Any]] = (),
    error: str | None = None,
    resource: Mapping[str, Any] | None = None,
    scope: str = "",
) -> FileRecord:
    """Return a span in OTLP's fields.

    Ids that are not hex of OTLP's length are padded or replaced by a hash. Times are Unix seconds;
    `attributes` and `resource` are plain Python; `events` have `name` and `attributes`; `error` is
    the message of a span that failed.
    """
    start_s = end_s if start_s is None else start_s
    end_s = start_s if end_s is None else end_s
    fields = {
        "traceId": _hash_id(trace, 2 * TRACE_ID),
        "spanId": _hash_id(span, 2 * SPAN_ID),
        "parentSpanId": _hash_id(parent, 2 * SPAN_ID) if parent else None,
        "name": name,
        "startTimeUnixNano": None if start_s is None else round(start_s * 1e9),
        "endTimeUnixNano": None if end_s is None else round(end_s * 1e9),
        "attributes": dict(attributes or {}),
        "events": [*events],
        "status": {"code": 2, "message": error} if error is not None else {},
    }
    return FileRecord(fields, dict(resource or {}), scope, where)


def _hash_id(raw: str, digits: int) -> str:
    text = raw.lower().removeprefix("0x").replace("-", "")
    if set(text) <= _DIGITS and len(text) <= digits:
        return text.zfill(digits)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def iso_seconds(raw: str | float | None) -> float | None:
    """Return a time in ISO 8601, or in Unix milliseconds, in seconds; UTC without a zone."""
    if raw is None or isinstance(raw, int | float):
        return None if raw is None else raw / 1000
    found = datetime.datetime.fromisoformat(raw)
    return found.replace(tzinfo=found.tzinfo or datetime.UTC).timestamp()


def first_of(fields: Mapping[str, Any], *names: str) -> Any:
    """Return the first value that is there, of a field that is spelled in several ways."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def plain_number(name: str, value: Any) -> Any:
    """Return the number or list in an attribute's text, where it must be one."""
    if not isinstance(value, str) or not name.startswith(NUMBERS):
        return value
    try:
        number = json.loads(value)
    except ValueError:
        return value
    return number if isinstance(number, int | float | list) else value


def flat_attributes(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested attributes under names with dots, as instrumentations write them."""
    if isinstance(value, Mapping):
        pairs = [*value.items()]
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        pairs = [(str(at), inner) for at, inner in enumerate(value)]
    else:
        return {} if value is None or not prefix else {prefix: value}
    attributes: dict[str, Any] = {}
    for name, inner in pairs:
        attributes |= flat_attributes(inner, f"{prefix}.{name}" if prefix else name)
    return attributes


def dump_json(value: Any) -> str | None:
    """Return a value as JSON, a text as it is."""
    return value if value is None or isinstance(value, str) else json.dumps(value)
