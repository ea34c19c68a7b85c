"""Protobuf's wire format, as far as it takes to part a file of OTLP into its messages.

Source: https://protobuf.dev/programming-guides/encoding and, for the length in four bytes,
`exportMessageAsBuffer` of the OpenTelemetry Collector's file exporter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from harness.tracing.read_files import Content

LONGEST = 1 << 30
"""Bytes of a message that is held in memory; protobuf itself allows twice as much."""
_FIRST = 0x0A
"""The tag of field 1 with a length, by which every TracesData and LogsData begins."""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class Broken(ValueError):
    """The bytes are no protobuf, or end too early."""


class Part(NamedTuple):
    """A field that holds bytes: a message, a text."""

    number: int
    payload: bytes


def parts(data: bytes) -> Iterator[Part]:
    """Yield the fields of a message that hold bytes; numbers are passed over.

    Raises:
        Broken: the message is damaged; what came before it has been yielded.
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


def blocks(content: Content) -> Iterator[bytes]:
    """Yield each ResourceSpans or ResourceLogs of a file.

    Raises:
        Broken: the file is damaged, or no OTLP; what came before has been yielded.
    """
    head = content.begin(16)
    if head[0] == _FIRST:
        yield from _plain(content)
        return
    length = _varint if _begins_with_varint(head) else _four_bytes
    if length is _four_bytes and head[4:5] != b"\x0a":
        raise Broken("no OTLP")
    while content.more():
        message = _payload(content.read, length(content.read))
        yield from (part.payload for part in parts(message) if part.number == 1)


def _plain(content: Content) -> Iterator[bytes]:
    """Yield field 1 of a message that fills the file, and may be larger than memory."""
    while content.more():
        part = _part(content.read)
        if part is not None and part.number == 1:
            yield part.payload


def _begins_with_varint(head: bytes) -> bool:
    ended = next((at for at, byte in enumerate(head[:5]) if byte < 0x80), None)
    return ended is not None and head[0] != 0 and head[ended + 1 : ended + 2] == b"\x0a"


def _part(read: Callable[[int], bytes]) -> Part | None:
    """Take a field; None if it holds a number."""
    tag = _varint(read)
    kind = tag & 7
    if kind == _LENGTH:
        return Part(tag >> 3, _payload(read, _varint(read)))
    if kind == _VARINT:
        _varint(read)
    elif kind in (_FIXED64, _FIXED32):
        _payload(read, 8 if kind == _FIXED64 else 4)
    else:
        raise Broken(f"a field of the kind {kind}")
    return None


def _payload(read: Callable[[int], bytes], size: int) -> bytes:
    if size > LONGEST:
        raise Broken(f"a message of {size} bytes")
    found = read(size)
    if len(found) < size:
        raise Broken("it ends too early")
    return found


def _varint(read: Callable[[int], bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = _payload(read, 1)[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise Broken("a number of more than ten bytes")


def _four_bytes(read: Callable[[int], bytes]) -> int:
    return int.from_bytes(_payload(read, 4), "big")
