"""OTLP/protobuf → spans and events.

A file is a single TracesData or ExportTraceServiceRequest, or several, each with its length before
it: as a varint (the specification's file format) or in four bytes, most significant first (the
collector's file exporter). A file of LogsData has a name that begins with `logs`. Each
ResourceSpans is decoded by itself.

Sources: https://protobuf.dev/programming-guides/encoding and, for the length in four bytes,
`exportMessageAsBuffer` of the OpenTelemetry Collector's file exporter.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import MissingExtra
from tunegate.harness.telemetry.read.json_reader import LOGS, SPANS, convert_values
from tunegate.harness.telemetry.read.records import EventRecord, event_record, make_span
from tunegate.harness.telemetry.read.trace_input import FileContent
from tunegate.harness.telemetry.read.trace_types import ImportReport, Span

if TYPE_CHECKING:
    from google.protobuf.message import Message

LONGEST = 1 << 30
"""Bytes of a message that is held in memory; protobuf itself allows twice as much."""
_FIRST = 0x0A
"""The tag of field 1 with a length, by which every TracesData and LogsData begins."""


class MalformedProtobuf(ValueError):
    """The bytes are not protobuf, or end too early."""


def read_protobuf_spans(content: FileContent, reading: ImportReport) -> Iterator[Span]:
    """Yield the spans of a file."""
    _require()
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

    if not content.holds_logs:
        blocks = _blocks(content, SPANS[0], ResourceSpans, content.reading)
        yield from convert_values(blocks, SPANS, make_span, content, reading)


def read_protobuf_events(content: FileContent, reading: ImportReport) -> Iterator[EventRecord]:
    """Yield the log records of a file that are events of model calls."""
    _require()
    from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

    blocks = _blocks(content, LOGS[0], ResourceLogs, reading)
    yield from convert_values(blocks, LOGS, event_record, content, reading)


def _require() -> None:
    try:
        import opentelemetry.proto.logs.v1.logs_pb2
        import opentelemetry.proto.trace.v1.trace_pb2  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtra("reading traces in protobuf", "traces") from error


def _blocks(
    content: FileContent, top: str, kind: type[Message], reading: ImportReport
) -> Iterator[tuple[Any, str]]:
    """Yield each ResourceSpans or ResourceLogs as OTLP/JSON; those before any damage."""
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError

    count = 0
    try:
        for payload in _payloads(content):
            count += 1
            where = f"{content.name}: block {count}"
            try:
                yield {top: [MessageToDict(kind.FromString(payload))]}, where
            except DecodeError:
                reading.leave_out("a block that protobuf cannot decode", where)
    except MalformedProtobuf:
        reason = (
            "the rest of a truncated protobuf file"
            if count
            else "a file that is neither JSON nor protobuf of OTLP"
        )
        reading.leave_out(reason, f"{content.name}: block {count}")


def _payloads(content: FileContent) -> Iterator[bytes]:
    """Yield the bytes of each ResourceSpans or ResourceLogs."""
    head = content.begin(16)
    if head[0] == _FIRST:
        yield from _first_fields(content.read)
        return
    length = _varint if _begins_with_varint(head) else _four_bytes
    if length is _four_bytes and head[4:5] != b"\x0a":
        raise MalformedProtobuf("not OTLP")
    while content.more():
        yield from _first_fields(io.BytesIO(_bytes(content.read, length(content.read))).read)


def _first_fields(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield the content of each field 1, the only one, of a message that may exceed memory."""
    while tag := read(1):
        if tag[0] != _FIRST:
            raise MalformedProtobuf(f"the field {tag[0] >> 3}")
        yield _bytes(read, _varint(read))


def _begins_with_varint(head: bytes) -> bool:
    ended = next((at for at, byte in enumerate(head[:5]) if byte < 0x80), None)
    return ended is not None and head[0] != 0 and head[ended + 1 : ended + 2] == b"\x0a"


def _bytes(read: Callable[[int], bytes], size: int) -> bytes:
    if size > LONGEST:
        raise MalformedProtobuf(f"a message of {size} bytes")
    content = read(size)
    if len(content) < size:
        raise MalformedProtobuf("it ends too early")
    return content


def _varint(read: Callable[[int], bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = _bytes(read, 1)[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise MalformedProtobuf("a number of more than ten bytes")


def _four_bytes(read: Callable[[int], bytes]) -> int:
    return int.from_bytes(_bytes(read, 4), "big")
