"""OTLP's spans and log records as JSON objects → `Span` and `EventRecord`.

Both spellings of protobuf's JSON are read, `traceId` and `trace_id`, ids in hex (as OTLP says) and
in base64 (as protobuf's own writer does).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.tracing.read_values import attributes, snake, value
from harness.tracing.reading import Reading
from harness.tracing.span import Span, SpanEvent

TRACE_ID, SPAN_ID = 16, 8
"""Bytes of an id."""
_HEX = re.compile(r"[0-9a-fA-F]+").fullmatch
_SPAN_FIELDS = frozenset(
    (
        "traceId", "spanId", "traceState", "parentSpanId", "flags", "name", "kind", "status",
        "startTimeUnixNano", "endTimeUnixNano", "attributes", "droppedAttributesCount",
        "events", "droppedEventsCount", "links", "droppedLinksCount",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """A span or log record as its file holds it, and what stands around it."""

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


def span(item: Item, reading: Reading) -> Span | None:
    """Return the span of an item; None if it has no ids, which is counted."""
    fields = _camel(item.fields)
    trace_id = hex_id(fields.get("traceId"), TRACE_ID)
    span_id = hex_id(fields.get("spanId"), SPAN_ID)
    if trace_id is None or span_id is None:
        reading.leave_out("a span without an id of 32 and one of 16 hex digits", item.where)
        return None
    for name in fields.keys() - _SPAN_FIELDS:
        reading.leave_out(f"the unknown field {name[:40]!r} of a span", item.where)
    start = seconds(fields.get("startTimeUnixNano"))
    end = seconds(fields.get("endTimeUnixNano"))
    if start is None or end is None:
        reading.mend("a span without start or end, read as taking no time", item.where)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=hex_id(fields.get("parentSpanId"), SPAN_ID),
        name=_text(fields.get("name")),
        start_s=start or end or 0.0,
        end_s=end or start or 0.0,
        attributes=attributes(fields.get("attributes"), reading, item.where),
        where=item.where,
        events=tuple(_events(fields.get("events"), reading, item.where)),
        resource=item.resource,
        scope=item.scope,
        error=_error(fields.get("status")),
    )


def event_record(item: Item, reading: Reading) -> EventRecord | None:
    """Return the GenAI event of a log record; None if it is another, which is counted."""
    fields = _camel(item.fields)
    known = attributes(fields.get("attributes"), reading, item.where)
    name = _text(fields.get("eventName")) or _text(known.get("event.name"))
    trace_id = hex_id(fields.get("traceId"), TRACE_ID)
    span_id = hex_id(fields.get("spanId"), SPAN_ID)
    body = fields.get("body")
    try:
        plain = None if body is None else value(body)
    except (ValueError, RecursionError):
        reading.leave_out("the body of a log record, which has no known type", item.where)
        plain = None
    return genai_event(
        EventRecord(trace_id or "", span_id or "", SpanEvent(name, known, plain), item.where),
        reading,
    )


def genai_event(record: EventRecord, reading: Reading) -> EventRecord | None:
    """Return the record if it is an event of a model call that names its span."""
    if not record.event.name.startswith("gen_ai."):
        reading.leave_out("a log record that is no event of a model call", record.where)
        return None
    if not record.trace_id or not record.span_id:
        reading.leave_out("an event that names no span", record.where)
        return None
    return record


def seconds(nanos: Any) -> float | None:
    """Return a time of OTLP in Unix seconds; None if it is absent or none."""
    if isinstance(nanos, bool) or not isinstance(nanos, int | float | str):
        return None
    try:
        found = int(nanos) / 1e9
    except (ValueError, OverflowError):
        return None
    return found if found > 0 else None


def hex_id(raw: Any, size: int) -> str | None:
    """Return an id as lower-case hex; None if it is absent, all zeros or no id of `size` bytes."""
    if not isinstance(raw, str):
        return None
    if len(raw) == 2 * size and _HEX(raw):
        found = raw.lower()
    else:
        try:
            decoded = base64.b64decode(raw, validate=True)
        except (binascii.Error, ValueError):
            return None
        found = decoded.hex() if len(decoded) == size else ""
    return found if found.strip("0") else None


_CAMEL = {snake(name): name for name in (*_SPAN_FIELDS, "eventName") if snake(name) != name}


def _camel(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if "trace_id" not in fields:
        return fields
    return {_CAMEL.get(name, name): inner for name, inner in fields.items()}


def _text(raw: Any) -> str:
    return raw if isinstance(raw, str) else ""


def _events(raw: Any, reading: Reading, where: str) -> Iterator[SpanEvent]:
    if raw is not None and not isinstance(raw, list):
        reading.leave_out("events that are no list", where)
        return
    for event in raw or ():
        if isinstance(event, Mapping):
            found = attributes(event.get("attributes"), reading, where)
            yield SpanEvent(_text(event.get("name")), found)
        else:
            reading.leave_out("an event that is no object", where)


def _error(status: Any) -> str | None:
    if not isinstance(status, Mapping) or status.get("code") not in (2, "2", "STATUS_CODE_ERROR"):
        return None
    return _text(status.get("message"))
