"""Records: OTLP/JSON objects → `Span` and `EventRecord`, and the joining of events to spans.

Both spellings of protobuf's JSON are read, `traceId` and `trace_id`, ids in hex (as in OTLP) and
in base64 (as protobuf's own writer does).
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.harness.telemetry.read.types import ImportReport, Span, SpanEvent

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
    """Return the span of an item; None if it has no ids, which is counted."""
    fields = _camel(item.fields)
    trace_id = hex_id(fields.get("traceId"), TRACE_ID)
    span_id = hex_id(fields.get("spanId"), SPAN_ID)
    if trace_id is None or span_id is None:
        reading.leave_out("a span without an id of 32 and one of 16 hex digits", item.where)
        return None
    for name in fields.keys() - _SPAN_FIELDS:
        reading.leave_out(f"the unknown field {name[:40]!r} of a span", item.where)
    start = unix_seconds(fields.get("startTimeUnixNano"))
    end = unix_seconds(fields.get("endTimeUnixNano"))
    if start is None or end is None:
        reading.repair("a span without start or end, read as taking no time", item.where)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=hex_id(fields.get("parentSpanId"), SPAN_ID),
        name=_text(fields.get("name")),
        start_s=start or end or 0.0,
        end_s=end or start or 0.0,
        attributes=plain_attributes(fields.get("attributes"), reading, item.where),
        where=item.where,
        events=tuple(_events(fields.get("events"), reading, item.where)),
        resource=item.resource,
        scope=item.scope,
        error=_error(fields.get("status")),
    )


def event_record(item: FileRecord, reading: ImportReport) -> EventRecord | None:
    """Return the GenAI event of a log record; None if it is another, which is counted."""
    fields = _camel(item.fields)
    known = plain_attributes(fields.get("attributes"), reading, item.where)
    name = _text(fields.get("eventName")) or _text(known.get("event.name"))
    trace_id = hex_id(fields.get("traceId"), TRACE_ID)
    span_id = hex_id(fields.get("spanId"), SPAN_ID)
    body = fields.get("body")
    try:
        plain = None if body is None else plain_value(body)
    except (ValueError, RecursionError):
        reading.leave_out("the body of a log record, which has no known type", item.where)
        plain = None
    return genai_event(
        EventRecord(trace_id or "", span_id or "", SpanEvent(name, known, plain), item.where),
        reading,
    )


def genai_event(record: EventRecord, reading: ImportReport) -> EventRecord | None:
    """Return the record if it is an event of a model call that names its span."""
    if not record.event.name.startswith("gen_ai."):
        reading.leave_out("a log record that is not an event of a model call", record.where)
        return None
    if not record.trace_id or not record.span_id:
        reading.leave_out("an event that names no span", record.where)
        return None
    return record


def unix_seconds(nanos: Any) -> float | None:
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


def snake_case(name: str) -> str:
    """Return protobuf's own spelling of a field, `trace_id` of `traceId`."""
    return re.sub("([A-Z])", lambda found: "_" + found[1].lower(), name)


_CAMEL = {
    snake_case(name): name for name in (*_SPAN_FIELDS, "eventName") if snake_case(name) != name
}


def _camel(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if "trace_id" not in fields:
        return fields
    return {_CAMEL.get(name, name): inner for name, inner in fields.items()}


def _text(raw: Any) -> str:
    return raw if isinstance(raw, str) else ""


def _events(raw: Any, reading: ImportReport, where: str) -> Iterator[SpanEvent]:
    if raw is not None and not isinstance(raw, list):
        reading.leave_out("events that are not a list", where)
        return
    for event in raw or ():
        if isinstance(event, Mapping):
            found = plain_attributes(event.get("attributes"), reading, where)
            yield SpanEvent(_text(event.get("name")), found)
        else:
            reading.leave_out("an event that is not an object", where)


def _error(status: Any) -> str | None:
    if not isinstance(status, Mapping) or status.get("code") not in (2, "2", "STATUS_CODE_ERROR"):
        return None
    return _text(status.get("message"))


def plain_attributes(raw: Any, reading: ImportReport, where: str) -> dict[str, Any]:
    """Return attributes as plain Python; those that have no known form are counted."""
    if raw is None:
        return {}
    if isinstance(raw, Mapping):  # not OTLP, but what hand-made files have
        return dict(raw)
    if not isinstance(raw, list):
        reading.leave_out("attributes that are not a list", where)
        return {}
    found: dict[str, Any] = {}
    for pair in raw:
        try:
            key = pair["key"]
            found[key if isinstance(key, str) else str(key)] = plain_value(pair.get("value", {}))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            reading.leave_out("an attribute that is not a key with a value of a known type", where)
        except RecursionError:
            reading.leave_out("an attribute that is nested too deeply", where)
    return found


def plain_value(raw: Any) -> Any:
    """Return an AnyValue as plain Python; bytes stay base64.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    if isinstance(raw, Mapping):
        for kind, inner in raw.items():
            read = _KINDS.get(kind)
            if read is not None and inner is not None:
                return read(inner)
        if not raw.keys() - _KINDS.keys():  # empty, or every kind is null
            return None
    raise ValueError("no value of a known type")


def _list(raw: Any) -> list[Any]:
    values = raw.get("values", []) if isinstance(raw, Mapping) else None
    if not isinstance(values, list):
        raise ValueError("no array")
    return [plain_value(inner) for inner in values]


def _pairs(raw: Any) -> dict[str, Any]:
    values = raw.get("values", []) if isinstance(raw, Mapping) else None
    if not isinstance(values, list) or not all(isinstance(pair, Mapping) for pair in values):
        raise ValueError("no key-value list")
    return {str(pair.get("key", "")): plain_value(pair.get("value", {})) for pair in values}


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


_KINDS |= {snake_case(kind): read for kind, read in _KINDS.items()}


_TABLE = """
create table events
(trace text, span text, name text, attributes text, body text, place text, claimed int default 0)
"""


class EventIndex:
    """Log records by span; nothing is made on disk where there are none."""

    def __init__(self) -> None:
        self._database: sqlite3.Connection | None = None

    def add(self, records: Iterable[EventRecord]) -> None:
        """Keep records."""
        rows = (
            (
                record.trace_id,
                record.span_id,
                record.event.name,
                json.dumps(record.event.attributes),
                json.dumps(record.event.body),
                record.where,
            )
            for record in records
        )
        for row in rows:
            self._opened().execute("insert into events values (?, ?, ?, ?, ?, ?, 0)", row)

    def of(self, trace_id: str, span_id: str) -> tuple[SpanEvent, ...]:
        """Return the events of a span, in the order in which they were added."""
        if self._database is None:
            return ()
        found = self._database.execute(
            "select rowid, name, attributes, body from events where span = ? and trace = ?"
            " order by rowid",
            (span_id, trace_id),
        ).fetchall()
        numbers = [(row[0],) for row in found]
        self._database.executemany("update events set claimed = 1 where rowid = ?", numbers)
        return tuple(
            SpanEvent(name, json.loads(known), json.loads(body)) for _, name, known, body in found
        )

    def unclaimed(self) -> Iterator[str]:
        """Yield the places of the records whose span did not come."""
        if self._database is not None:
            yield from (
                row[0]
                for row in self._database.execute(
                    "select place from events where not claimed order by rowid"
                )
            )

    def close(self) -> None:
        """Forget everything."""
        if self._database is not None:
            self._database.close()

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            # The empty name is SQLite's for a database of its own in a temporary file.
            self._database = sqlite3.connect("", isolation_level=None)
            self._database.execute("pragma journal_mode = off")
            self._database.execute(_TABLE)
            self._database.execute("create index spans on events (span)")
        return self._database


_DIGITS = frozenset("0123456789abcdef")
NUMBERS = (
    "gen_ai.request.", "gen_ai.usage.", "llm.token_count.", "ai.settings.", "ai.usage.",
)  # fmt: skip
"""How the names of attributes begin whose values are numbers where a store writes texts."""


def make_record(  # noqa: PLR0913 - each is a field of a span
    where: str,
    *,
    trace: Any,
    span: Any,
    parent: Any = None,
    name: Any = "",
    start_s: float | None = None,
    end_s: float | None = None,
    attributes: Mapping[str, Any] | None = None,
    events: Iterable[Mapping[str, Any]] = (),
    error: str | None = None,
    resource: Mapping[str, Any] | None = None,
    scope: Any = "",
) -> FileRecord:
    """Return a span in OTLP's fields.

    Args:
        where: File and line or record.
        trace: Id of the trace; one that is no hex of 16 bytes is replaced by a hash.
        span: Id of the span; one that is no hex of 8 bytes is replaced by a hash.
        parent: Id of the span around it.
        name: Name of the span.
        start_s: Unix time in seconds.
        end_s: Unix time in seconds.
        attributes: As plain Python.
        events: `{"name", "attributes"}`.
        error: The message of a span that failed; None if it did not fail.
        resource: Attributes of the program.
        scope: Name of the instrumentation library.
    """
    start_s = end_s if start_s is None else start_s
    end_s = start_s if end_s is None else end_s
    fields = {
        "traceId": _hash_id(trace, 2 * TRACE_ID),
        "spanId": _hash_id(span, 2 * SPAN_ID),
        "parentSpanId": _hash_id(parent, 2 * SPAN_ID) if parent else None,
        "name": name if isinstance(name, str) else "",
        "startTimeUnixNano": None if start_s is None else str(round(start_s * 1e9)),
        "endTimeUnixNano": None if end_s is None else str(round(end_s * 1e9)),
        "attributes": dict(attributes or {}),
        "events": [*events],
        "status": {"code": 2, "message": error} if error is not None else {},
    }
    return FileRecord(fields, dict(resource or {}), scope if isinstance(scope, str) else "", where)


def _hash_id(raw: Any, digits: int) -> str | None:
    """Return an id in hex of the right length: shorter ones padded, those of other forms hashed."""
    if raw is None or raw == "":
        return None
    text = str(raw).lower().removeprefix("0x").replace("-", "")
    if set(text) <= _DIGITS and len(text) <= digits:
        return text.zfill(digits)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:digits]


def iso_seconds(raw: Any) -> float | None:
    """Return a time as ISO 8601 writes it in Unix seconds; UTC where it names no zone."""
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return raw / 1000 if raw > 1e11 else float(raw)
    if not isinstance(raw, str):
        return None
    try:
        found = datetime.datetime.fromisoformat(raw)
        zone = found.tzinfo or datetime.UTC
        return found.replace(tzinfo=zone).timestamp()
    except (ValueError, OverflowError):
        return None


def micro_seconds(raw: Any) -> float | None:
    """Return microseconds in seconds."""
    is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
    return raw / 1e6 if is_number else None


def first_of(fields: Mapping[str, Any], *names: str) -> Any:
    """Return the first value that is there, of a field that is spelt in several ways."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def plain_number(name: str, value: Any) -> Any:
    """Return the number or list that a text of an attribute stands for, where it must be one."""
    if not isinstance(value, str) or not name.startswith(NUMBERS):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, int | float | list) else value


def flat_attributes(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested attributes under names with dots, as instrumentations write them."""
    if isinstance(value, Mapping):
        pairs = [(str(name), inner) for name, inner in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        pairs = [(str(at), inner) for at, inner in enumerate(value)]
    else:
        return {} if value is None or not prefix else {prefix: value}
    found: dict[str, Any] = {}
    for name, inner in pairs:
        found |= flat_attributes(inner, f"{prefix}.{name}" if prefix else name)
    return found


def dump_json(value: Any) -> str | None:
    """Return a value as JSON, a text as it is."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
