"""OTLP/JSON as lines and as documents."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.telemetry.read import read_spans
from tunegate.harness.telemetry.read.json_reader import NEITHER
from tunegate.harness.telemetry.read.trace_types import (
    ImportReport,
    OccurrenceCount,
    Span,
    SpanEvent,
)

Make = Callable[..., Any]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def test_a_span_has_all_its_fields(
    otlp: Make, otlp_span: Make, written: Make, reading_of: Make
) -> None:
    inner = {"values": [attribute("role", stringValue="user"), attribute("n", intValue="2")]}
    path = written(
        "traces.jsonl",
        otlp(
            otlp_span(
                parentSpanId="00f067aa0ba902b7",
                attributes=[
                    attribute("text", stringValue="Grüße"),
                    attribute("tokens", intValue="12"),
                    attribute("temperature", doubleValue=0.5),
                    attribute("stream", boolValue=False),
                    attribute("nothing"),
                    attribute("bytes", bytesValue="AAE="),
                    attribute("turns", arrayValue={"values": [{"kvlistValue": inner}]}),
                    attribute("none", arrayValue={}),
                ],
                events=[{"name": "gen_ai.choice", "attributes": [attribute("i", intValue=0)]}],
                status={"code": 2, "message": "rate limit"},
            )
        ),
    )

    spans, reading = reading_of(path)

    assert spans == [
        Span(
            trace_id=TRACE,
            span_id=SPAN,
            parent_id="00f067aa0ba902b7",
            name="chat shop-1",
            start_s=1764000000.0,
            end_s=1764000001.5,
            attributes={
                "text": "Grüße",
                "tokens": 12,
                "temperature": 0.5,
                "stream": False,
                "nothing": None,
                "bytes": "AAE=",
                "turns": [{"role": "user", "n": 2}],
                "none": [],
            },
            where=f"{path}:1",
            events=(SpanEvent("gen_ai.choice", {"i": 0}),),
            resource={"service.name": "shop"},
            scope="our.library",
            error="rate limit",
        )
    ]
    assert reading == ImportReport(files=1, spans=1)


@pytest.mark.parametrize(
    "text",
    [
        lambda one: json.dumps(one),
        lambda one: json.dumps(one, indent=2),
        lambda one: json.dumps([one]),
        lambda one: json.dumps([one], indent="\t"),
        lambda one: "\ufeff" + json.dumps(one, indent=1),
        lambda one: json.dumps({"unit": [1, {"a": []}], **one}, indent=1),
    ],
    ids=["a line", "a document", "an array", "a document of one", "a mark", "another key"],
)
def test_every_way_of_writing_says_the_same(
    text: Callable[[Any], str], otlp: Make, otlp_span: Make, tmp_path: Path, reading_of: Make
) -> None:
    path = tmp_path / "export.json"
    path.write_text(text(otlp(otlp_span())), encoding="utf-8")

    spans, reading = reading_of(path)

    assert [replace(span, where="") for span in spans] == [
        Span(
            trace_id=TRACE,
            span_id=SPAN,
            parent_id=None,
            name="chat shop-1",
            start_s=1764000000.0,
            end_s=1764000001.5,
            attributes={},
            where="",
            resource={"service.name": "shop"},
            scope="our.library",
        )
    ]
    assert reading.sentences() == []


def test_protobufs_own_names(written: Make, reading_of: Make) -> None:
    snake = {
        "trace_id": "CvdlGRbNQ92ESOshHIAxnA==",
        "span_id": "t61rcWkgMzE=",
        "parent_span_id": "APBnqgupArc=",
        "name": "chat",
        "start_time_unix_nano": 1,
        "end_time_unix_nano": 2,
        "attributes": [{"key": "a", "value": {"string_value": None, "int_value": 3}}],
    }
    path = written(
        "traces.jsonl",
        {"resource_spans": [{"scope_spans": [{"scope": {"name": "x"}, "spans": [snake]}]}]},
    )

    (span,), reading = reading_of(path)

    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE, SPAN, "00f067aa0ba902b7")
    assert (span.scope, span.attributes) == ("x", {"a": 3})
    assert reading.sentences() == []


def test_broken_lines_cost_themselves_only(
    otlp: Make, otlp_span: Make, tmp_path: Path, reading_of: Make
) -> None:
    whole = json.dumps(otlp(otlp_span())).encode()
    path = tmp_path / "traces.jsonl"
    broken = [b"{no json", b'{"resourceMetrics": []}', b"17", b'{"resourceSpans": "x"}']
    path.write_bytes(b"\n".join([whole, *broken, whole.replace(b"-1", b"-\xff"), whole[:-30]]))

    spans, reading = reading_of(path)

    assert [span.name for span in spans] == ["chat shop-1", "chat shop-\ufffd"]
    assert reading.left_out == {
        "a line that is not JSON": OccurrenceCount(1, f"{path}:2"),
        NEITHER: OccurrenceCount(2, f"{path}:3: at its top resourceMetrics"),
        "a value that breaks the rules of its format": OccurrenceCount(1, f"{path}:5"),
        "the last line, which is cut off": OccurrenceCount(1, f"{path}:7"),
    }


def test_a_truncated_document_gives_the_blocks_before_the_cut(
    otlp: Make, otlp_span: Make, tmp_path: Path, reading_of: Make
) -> None:
    path = tmp_path / "export.json"
    document = {"resourceSpans": [otlp(otlp_span(name=n))["resourceSpans"][0] for n in "abc"]}
    text = json.dumps(document, indent=1)
    path.write_text(text[: text.index('"c"')], encoding="utf-8")

    spans, reading = reading_of(path)

    assert [span.name for span in spans] == ["a", "b"]
    assert reading.left_out == {
        "the rest of a truncated JSON file": OccurrenceCount(1, f"{path}: record 2")
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"traceId": None}, "a span without an id of 32 and one of 16 hex digits"),
        ({"spanId": "0" * 16}, "a span without an id of 32 and one of 16 hex digits"),
        ({"attributes": ["a"]}, "a record that breaks the rules of its format"),
        ({"startTimeUnixNano": "soon"}, "a record that breaks the rules of its format"),
        ({"events": [7]}, "a record that breaks the rules of its format"),
    ],
)
def test_an_unusable_span_is_counted_and_the_next_one_read(
    fields: dict[str, Any],
    reason: str,
    otlp: Make,
    otlp_span: Make,
    written: Make,
    reading_of: Make,
) -> None:
    path = written("traces.jsonl", otlp(otlp_span(**fields), otlp_span(name="next")))

    spans, reading = reading_of(path)

    assert [span.name for span in spans] == ["next"]
    assert reading.left_out == {reason: OccurrenceCount(1, f"{path}:1")}


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, "3000000000", (3.0, 3.0)),
        ("2000000000", None, (2.0, 2.0)),
        (None, None, (0.0, 0.0)),
        (2000000000, 5000000000, (2.0, 5.0)),
    ],
)
def test_a_span_without_times_is_read(
    start: Any,
    end: Any,
    expected: tuple[float, float],
    otlp: Make,
    otlp_span: Make,
    written: Make,
    reading_of: Make,
) -> None:
    spans, reading = reading_of(
        written("t.jsonl", otlp(otlp_span(startTimeUnixNano=start, endTimeUnixNano=end)))
    )

    assert [(span.start_s, span.end_s) for span in spans] == [expected]
    assert len(reading.repaired) == (0 if expected == (2.0, 5.0) else 1)


def test_a_message_of_two_megabytes(
    otlp: Make, otlp_span: Make, tmp_path: Path, reading_of: Make
) -> None:
    text = "Wörter " * 300_000
    document = otlp(otlp_span(attributes=[attribute("text", stringValue=text)]))
    (tmp_path / "a.json").write_text(json.dumps(document, indent=1, ensure_ascii=False))
    (tmp_path / "b.jsonl").write_text(json.dumps(document))

    spans, reading = reading_of(tmp_path)

    assert [span.attributes["text"] == text for span in spans] == [True, True]
    assert reading.sentences() == []


def test_memory_does_not_grow_with_the_file(otlp: Make, otlp_span: Make, tmp_path: Path) -> None:
    text = "x" * 2_000
    span = otlp_span(attributes=[attribute("text", stringValue=text)])
    document = {"resourceSpans": otlp(*[span] * 100)["resourceSpans"] * 100}
    path = tmp_path / "export.json"
    path.write_text(json.dumps(document, indent=1))
    del document

    tracemalloc.start()
    count = sum(1 for _ in read_spans([path], ImportReport()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 10_000
    assert path.stat().st_size > 23_000_000
    assert peak < 8_000_000


def test_reasons_are_counted_with_their_first_place() -> None:
    reading = ImportReport()
    reading.leave_out("a line that is not JSON", "a.jsonl:3")
    for line in (5, 7):
        reading.leave_out("a span without an id", f"a.jsonl:{line}")
    reading.repair("a span without start or end", "b.jsonl:1")

    assert reading.sentences() == [
        "left out 2: a span without an id (first a.jsonl:5)",
        "left out 1: a line that is not JSON (a.jsonl:3)",
        "repaired 1: a span without start or end (b.jsonl:1)",
    ]
