"""OTLP in protobuf, framed in three ways; the messages are made by protobuf's own library."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from tunegate.harness.telemetry.read.trace_types import OccurrenceCount, SpanEvent

messages = pytest.importorskip("opentelemetry.proto.trace.v1.trace_pb2")
LogsData = pytest.importorskip("opentelemetry.proto.logs.v1.logs_pb2").LogsData

Make = Callable[..., Any]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def varint(number: int) -> bytes:
    """Return a number as protobuf writes lengths: seven bits a byte, the lowest first."""
    head = b""
    while number > 0x7F:
        head += bytes([number & 0x7F | 0x80])
        number >>= 7
    return head + bytes([number])


def in_base64(fields: Any) -> Any:
    """Return OTLP/JSON with ids in base64, as protobuf's own JSON has them."""
    if isinstance(fields, dict):
        return {
            name: base64.b64encode(bytes.fromhex(inner)).decode()
            if name in ("traceId", "spanId", "parentSpanId")
            else in_base64(inner)
            for name, inner in fields.items()
        }
    return [in_base64(inner) for inner in fields] if isinstance(fields, list) else fields


def traces(document: dict[str, Any]) -> bytes:
    """Return TracesData in protobuf."""
    return ParseDict(in_base64(document), messages.TracesData()).SerializeToString()


def plain(parts: list[bytes]) -> bytes:
    """Return messages joined as one, which repeats its only field."""
    return b"".join(parts)


def with_varints(parts: list[bytes]) -> bytes:
    """Return messages, each with its length before it as the specification says."""
    return b"".join(varint(len(part)) + part for part in parts)


def with_four_bytes(parts: list[bytes]) -> bytes:
    """Return messages, each with its length before it as the collector writes it."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


@pytest.mark.parametrize("framed", [plain, with_varints, with_four_bytes])
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_protobuf_says_the_same_as_json(
    framed: Callable[[list[bytes]], bytes],
    packed: Callable[[bytes], bytes],
    otlp: Make,
    otlp_span: Make,
    tmp_path: Path,
    written: Make,
    reading_of: Make,
) -> None:
    kinds = [
        {"stringValue": "Grüße"},
        {"intValue": "-12"},
        {"doubleValue": 0.5},
        {"boolValue": True},
        {"bytesValue": "AAE="},
        {"arrayValue": {"values": [{"stringValue": "a"}]}},
        {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": "1"}}]}},
        {},
    ]
    documents = [
        otlp(
            otlp_span(
                name=f"chat {n}",
                attributes=[{"key": str(at), "value": kind} for at, kind in enumerate(kinds)],
                parentSpanId="00f067aa0ba902b7",
                events=[{"name": "e", "attributes": [{"key": "i", "value": {"intValue": "1"}}]}],
                status={"code": 2, "message": "boom"},
            ),
            otlp_span(name=f"plain {n}"),
        )
        for n in range(3)
    ]
    path = tmp_path / "export.pb"
    path.write_bytes(packed(framed([traces(document) for document in documents])))

    spans, reading = reading_of(path)
    expected, _ = reading_of(written("same.jsonl", *documents))

    assert [replace(s, where="") for s in spans] == [replace(s, where="") for s in expected]
    assert spans[3].where == f"{path}: block 2"
    assert reading.sentences() == []


def test_a_broken_block_costs_itself_only(
    otlp: Make, otlp_span: Make, tmp_path: Path, reading_of: Make
) -> None:
    """A text that is not UTF-8."""
    blocks = [traces(otlp(otlp_span(name=name))) for name in ("first", "second")]
    path = tmp_path / "export.pb"
    path.write_bytes(plain(blocks).replace(b"first", b"fir\xff\xfe"))

    spans, reading = reading_of(path)

    assert [span.name for span in spans] == ["second"]
    assert reading.left_out == {
        "a block that protobuf cannot decode": OccurrenceCount(1, f"{path}: block 1")
    }


@pytest.mark.parametrize("framed", [plain, with_varints, with_four_bytes])
def test_a_file_that_breaks_off(
    framed: Callable[[list[bytes]], bytes],
    otlp: Make,
    otlp_span: Make,
    tmp_path: Path,
    reading_of: Make,
) -> None:
    message = traces(otlp(otlp_span()))
    path = tmp_path / "export.pb"
    path.write_bytes(framed([message, message])[:-5])

    spans, reading = reading_of(path)

    assert len(spans) == 1
    assert reading.left_out == {
        "the rest of a truncated protobuf file": OccurrenceCount(1, f"{path}: block 1")
    }


@pytest.mark.parametrize("content", [b"\x00\x01", b"\x0a\x05", b"PK\x03\x04"])
def test_other_files_are_counted(content: bytes, tmp_path: Path, reading_of: Make) -> None:
    path = tmp_path / "export.bin"
    path.write_bytes(content)

    spans, reading = reading_of(path)

    assert spans == []
    assert list(reading.left_out) == ["a file that is neither JSON nor protobuf of OTLP"]


def test_log_records_join_their_spans(
    otlp: Make, otlp_span: Make, logs: Make, tmp_path: Path, reading_of: Make
) -> None:
    """`logs.pb` beside `traces.pb` is read with it."""
    record = {
        "traceId": TRACE,
        "spanId": SPAN,
        "attributes": [{"key": "event.name", "value": {"stringValue": "gen_ai.user.message"}}],
        "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": "Hi"}}]}},
    }
    named = {"traceId": TRACE, "spanId": SPAN, "eventName": "gen_ai.choice"}
    (tmp_path / "traces.pb").write_bytes(traces(otlp(otlp_span())))
    whole = ParseDict(in_base64(logs(record, named)), LogsData())
    (tmp_path / "logs.pb").write_bytes(whole.SerializeToString())

    spans, reading = reading_of(tmp_path / "traces.pb")

    assert spans[0].events == (
        SpanEvent("gen_ai.user.message", {"event.name": "gen_ai.user.message"}, {"content": "Hi"}),
        SpanEvent("gen_ai.choice", {}, None),
    )
    assert reading.sentences() == []
