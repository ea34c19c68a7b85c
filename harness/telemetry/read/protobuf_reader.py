"""Streaming reader of OTLP/protobuf → spans and events.

Read are a single TracesData or ExportTraceServiceRequest, messages that follow each other with
their length before each as a varint (the specification's file format) or in four bytes, most
significant first (the collector's file exporter), and LogsData where the file's name begins with
`logs`. Each span is decoded by itself, so that a broken one costs no other.

Protobuf's wire format, as far as it takes to part a file of OTLP into its messages.

Source: https://protobuf.dev/programming-guides/encoding and, for the length in four bytes,
`exportMessageAsBuffer` of the OpenTelemetry Collector's file exporter.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tunegate.harness.records.errors import MissingExtra
from tunegate.harness.telemetry.read.files import FileContent
from tunegate.harness.telemetry.read.records import EventRecord, genai_event
from tunegate.harness.telemetry.read.types import ImportReport, Span, SpanEvent

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

M = TypeVar("M", bound="Message")


class _RawRecord(NamedTuple):
    """A span or log record, still in bytes, and what surrounds it."""

    payload: bytes
    resource: dict[str, Any]
    scope: str
    where: str


def read_protobuf_spans(content: FileContent, reading: ImportReport) -> Iterator[Span]:
    """Yield the spans of a file.

    Raises:
        MissingExtra: what reads protobuf is not installed.
    """
    _require()
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

    if content.holds_logs:
        return
    for record in _records(content, content.reading):
        message = _decode_message(SpanMessage, record.payload, "a span", record.where, reading)
        if message is not None and len(message.trace_id) == 16 and len(message.span_id) == 8:
            yield _span(message, record, reading)
        elif message is not None:
            reading.leave_out("a span without an id of 32 and one of 16 hex digits", record.where)


def read_protobuf_events(content: FileContent, reading: ImportReport) -> Iterator[EventRecord]:
    """Yield the log records of a file that are events of model calls.

    Raises:
        MissingExtra: what reads protobuf is not installed.
    """
    _require()
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    for record in _records(content, reading):
        message = _decode_message(LogRecord, record.payload, "a log record", record.where, reading)
        found = None if message is None else _event(message, record.where, reading)
        if found is not None:
            yield found


def _require() -> None:
    try:
        import opentelemetry.proto.logs.v1.logs_pb2
        import opentelemetry.proto.trace.v1.trace_pb2  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtra("reading traces in protobuf", "traces") from error


def _records(content: FileContent, reading: ImportReport) -> Iterator[_RawRecord]:
    """Yield the records of a file; where it is damaged, those before the damage."""
    count = 0
    try:
        for block in read_blocks(content):
            for record in _block_records(block, content.name, count, reading):
                count += 1
                yield record
    except MalformedProtobuf:
        reason = (
            "a file that is neither JSON nor protobuf of OTLP"
            if not count
            else "the rest of a truncated protobuf file"
        )
        reading.leave_out(reason, f"{content.name}: record {count}")


def _block_records(
    block: bytes, name: str, count: int, reading: ImportReport
) -> Iterator[_RawRecord]:
    """Yield the records of a ResourceSpans or ResourceLogs: fields 1 and 2 are alike in both."""
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    resource: dict[str, Any] = {}
    for outer in read_fields(block):
        where = f"{name}: record {count + 1}"
        if outer.number == 1:
            message = _decode_message(Resource, outer.payload, "a resource", where, reading)
            resource = {} if message is None else _attributes(message.attributes, reading, where)
            continue
        scope = ""
        for inner in read_fields(outer.payload) if outer.number == 2 else ():
            where = f"{name}: record {count + 1}"
            if inner.number == 1:
                about = _decode_message(
                    InstrumentationScope, inner.payload, "a scope", where, reading
                )
                scope = about.name if about is not None else ""
            elif inner.number == 2:
                count += 1
                yield _RawRecord(inner.payload, resource, scope, where)


def _decode_message(
    kind: type[M], payload: bytes, what: str, where: str, reading: ImportReport
) -> M | None:
    from google.protobuf.message import DecodeError
    from google.protobuf.unknown_fields import UnknownFieldSet

    try:
        message: M = kind.FromString(payload)
    except DecodeError:
        reading.leave_out(f"{what} that protobuf cannot decode", where)
        return None
    for field in UnknownFieldSet(message):
        reading.leave_out(f"the unknown field {field.field_number} of {what}", where)
    return message


def _span(message: SpanMessage, record: _RawRecord, reading: ImportReport) -> Span:
    start, end = message.start_time_unix_nano / 1e9, message.end_time_unix_nano / 1e9
    if not start or not end:
        reading.repair("a span without start or end, read as taking no time", record.where)
    found = (
        SpanEvent(event.name, _attributes(event.attributes, reading, record.where))
        for event in message.events
    )
    return Span(
        trace_id=message.trace_id.hex(),
        span_id=message.span_id.hex(),
        parent_id=message.parent_span_id.hex() if any(message.parent_span_id) else None,
        name=message.name,
        start_s=start or end,
        end_s=end or start,
        attributes=_attributes(message.attributes, reading, record.where),
        where=record.where,
        events=tuple(found),
        resource=record.resource,
        scope=record.scope,
        error=message.status.message if message.status.code == 2 else None,
    )


def _event(message: LogRecord, where: str, reading: ImportReport) -> EventRecord | None:
    known = _attributes(message.attributes, reading, where)
    name = getattr(message, "event_name", "") or known.get("event.name", "")
    event = SpanEvent(str(name), known, _value(message.body))
    found = EventRecord(message.trace_id.hex(), message.span_id.hex(), event, where)
    return genai_event(found, reading)


def _attributes(pairs: Iterable[KeyValue], reading: ImportReport, where: str) -> dict[str, Any]:
    try:
        return {pair.key: _value(pair.value) for pair in pairs}
    except RecursionError:
        reading.leave_out("attributes that are nested too deeply", where)
        return {}


def _value(value: AnyValue) -> Any:
    """Return a value as plain Python; bytes become base64, as in OTLP's JSON."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(inner) for inner in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)


LONGEST = 1 << 30
"""Bytes of a message that is held in memory; protobuf itself allows twice as much."""
_FIRST = 0x0A
"""The tag of field 1 with a length, by which every TracesData and LogsData begins."""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class MalformedProtobuf(ValueError):
    """The bytes are no protobuf, or end too early."""


class BytesField(NamedTuple):
    """A field that holds bytes: a message, a text."""

    number: int
    payload: bytes


def read_fields(data: bytes) -> Iterator[BytesField]:
    """Yield the fields of a message that hold bytes; numbers are passed over.

    Raises:
        MalformedProtobuf: the message is damaged; what came before it has been yielded.
    """
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        at += size
        return data[at - size : at]

    while at < len(data):
        part = _part(take)
        if part is not None:
            yield part


def read_blocks(content: FileContent) -> Iterator[bytes]:
    """Yield each ResourceSpans or ResourceLogs of a file.

    Raises:
        MalformedProtobuf: the file is damaged, or no OTLP; what came before has been yielded.
    """
    head = content.begin(16)
    if head[0] == _FIRST:
        yield from _plain(content)
        return
    length = _varint if _begins_with_varint(head) else _four_bytes
    if length is _four_bytes and head[4:5] != b"\x0a":
        raise MalformedProtobuf("no OTLP")
    while content.more():
        message = _payload(content.read, length(content.read))
        yield from (part.payload for part in read_fields(message) if part.number == 1)


def _plain(content: FileContent) -> Iterator[bytes]:
    """Yield field 1 of a message that fills the file, and may be larger than memory."""
    while content.more():
        part = _part(content.read)
        if part is not None and part.number == 1:
            yield part.payload


def _begins_with_varint(head: bytes) -> bool:
    ended = next((at for at, byte in enumerate(head[:5]) if byte < 0x80), None)
    return ended is not None and head[0] != 0 and head[ended + 1 : ended + 2] == b"\x0a"


def _part(read: Callable[[int], bytes]) -> BytesField | None:
    """Take a field; None if it holds a number."""
    tag = _varint(read)
    kind = tag & 7
    if kind == _LENGTH:
        return BytesField(tag >> 3, _payload(read, _varint(read)))
    if kind == _VARINT:
        _varint(read)
    elif kind in (_FIXED64, _FIXED32):
        _payload(read, 8 if kind == _FIXED64 else 4)
    else:
        raise MalformedProtobuf(f"a field of the kind {kind}")
    return None


def _payload(read: Callable[[int], bytes], size: int) -> bytes:
    if size > LONGEST:
        raise MalformedProtobuf(f"a message of {size} bytes")
    found = read(size)
    if len(found) < size:
        raise MalformedProtobuf("it ends too early")
    return found


def _varint(read: Callable[[int], bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = _payload(read, 1)[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise MalformedProtobuf("a number of more than ten bytes")


def _four_bytes(read: Callable[[int], bytes]) -> int:
    return int.from_bytes(_payload(read, 4), "big")
