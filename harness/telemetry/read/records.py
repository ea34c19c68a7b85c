"""Records of OTLP/JSON → `Span` and `EventRecord`.

Both spellings of protobuf's JSON are read, `traceId` and `trace_id`, with ids in hex (as in OTLP)
or in base64 (as protobuf's own writer has them).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tunegate.harness.telemetry.read.trace_types import ImportReport, Span, SpanEvent

TRACE_ID, SPAN_ID = 16, 8
"""Bytes of an id."""
_HEX = re.compile(r"[0-9a-fA-F]+").fullmatch


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A span or log record as its file holds it, and what surrounds it."""

    fields: Mapping[str, Any]
    resource: Mapping[str, Any]
    """Attributes, as plain Python."""
    scope: str
    where: str


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A log record that names the span it belongs to."""

    trace_id: str
    span_id: str
    event: SpanEvent
    where: str


def make_span(item: FileRecord, reading: ImportReport) -> Span | None:
    """Return the span of a record; None if it has no ids, which is counted."""
    fields = _camel(item.fields)
    trace_id = _hex_id(fields.get("traceId"), TRACE_ID)
    span_id = _hex_id(fields.get("spanId"), SPAN_ID)
    if trace_id is None or span_id is None:
        reading.leave_out("a span without an id of 32 and one of 16 hex digits", item.where)
        return None
    start = int(fields.get("startTimeUnixNano") or 0) / 1e9
    end = int(fields.get("endTimeUnixNano") or 0) / 1e9
    if not start or not end:
        reading.repair("a span without start or end, read as taking no time", item.where)
    status = fields.get("status") or {}
    failed = status.get("code") in (2, "STATUS_CODE_ERROR")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=_hex_id(fields.get("parentSpanId"), SPAN_ID),
        name=fields.get("name") or "",
        start_s=start or end,
        end_s=end or start,
        attributes=plain_attributes(fields.get("attributes")),
        where=item.where,
        events=tuple(
            SpanEvent(event.get("name") or "", plain_attributes(event.get("attributes")))
            for event in fields.get("events") or ()
        ),
        resource=item.resource,
        scope=item.scope,
        error=(status.get("message") or "") if failed else None,
    )


def event_record(item: FileRecord, reading: ImportReport) -> EventRecord | None:
    """Return the event of a model call that a log record is; None, counted, for any other."""
    fields = _camel(item.fields)
    attributes = plain_attributes(fields.get("attributes"))
    name = fields.get("eventName") or attributes.get("event.name") or ""
    trace_id = _hex_id(fields.get("traceId"), TRACE_ID)
    span_id = _hex_id(fields.get("spanId"), SPAN_ID)
    if not name.startswith("gen_ai."):
        reading.leave_out("a log record that is not an event of a model call", item.where)
        return None
    if trace_id is None or span_id is None:
        reading.leave_out("an event that names no span", item.where)
        return None
    event = SpanEvent(name, attributes, _plain_value(fields.get("body") or {}))
    return EventRecord(trace_id, span_id, event, item.where)


def _hex_id(raw: str | None, size: int) -> str | None:
    """Return an id as lower-case hex; None if it is absent, all zeros or of another size."""
    if not raw:
        return None
    is_hex = len(raw) == 2 * size and _HEX(raw)
    found = raw.lower() if is_hex else base64.b64decode(raw, validate=True).hex()
    return found if found.strip("0") and len(found) == 2 * size else None


@cache
def snake_case(name: str) -> str:
    """Return protobuf's own spelling of a field, `trace_id` for `traceId`."""
    return re.sub("([A-Z])", lambda found: "_" + found[1].lower(), name)


def _camel(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if "trace_id" not in fields:
        return fields
    return {re.sub("_([a-z])", lambda m: m[1].upper(), name): v for name, v in fields.items()}


def plain_attributes(raw: Any) -> Mapping[str, Any]:
    """Return OTLP's list of keys and values as a dict; stores have one already."""
    return raw if isinstance(raw, Mapping) else _pairs({"values": raw})


def _plain_value(raw: Mapping[str, Any]) -> Any:
    """Return an AnyValue as plain Python; bytes stay base64."""
    for kind, inner in raw.items():
        if inner is not None:
            return _KINDS[snake_case(kind)](inner)
    return None


def _pairs(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {pair["key"]: _plain_value(pair.get("value") or {}) for pair in raw.get("values") or ()}


_KINDS: dict[str, Callable[[Any], Any]] = {
    "string_value": str,
    "int_value": int,
    "double_value": float,
    "bool_value": bool,
    "array_value": lambda raw: [_plain_value(inner) for inner in raw.get("values") or ()],
    "kvlist_value": _pairs,
    "bytes_value": str,
}
