"""OTLP/JSON, as lines and as documents: what is read, and what is wrong is counted."""

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
from tunegate.harness.telemetry.read.types import ImportReport, OccurrenceCount, Span, SpanEvent

Make = Callable[..., Any]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def attribute(key: str, **value: Any) -> dict[str, Any]:
    """Return an attribute of OTLP."""
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


def test_protobufs_own_names_and_older_files(
    otlp_span: Make, written: Make, reading_of: Make
) -> None:
    """snake_case, ids in base64, and the instrumentation library of OTLP before 0.19 are read."""
    snake = {
        "trace_id": "CvdlGRbNQ92ESOshHIAxnA==",
        "span_id": "t61rcWkgMzE=",
        "parent_span_id": "APBnqgupArc=",
        "name": "chat",
        "start_time_unix_nano": 1,
        "end_time_unix_nano": 2,
        "attributes": [{"key": "a", "value": {"int_value": 3}}],
    }
    older = {"instrumentationLibrary": {"name": "old"}, "spans": [otlp_span()]}
    path = written(
        "traces.jsonl",
        {"resource_spans": [{"scope_spans": [{"scope": {"name": "x"}, "spans": [snake]}]}]},
        {"resourceSpans": [{"instrumentationLibrarySpans": [older]}]},
    )

    spans, reading = reading_of(path)

    assert [(s.trace_id, s.span_id, s.parent_id, s.scope) for s in spans] == [
        (TRACE, SPAN, "00f067aa0ba902b7", "x"),
        (TRACE, SPAN, None, "old"),
    ]
    assert spans[0].attributes == {"a": 3}
    assert reading.sentences() == []


def test_broken_lines_cost_themselves_only(
    otlp: Make, otlp_span: Make, tmp_path: Path, reading_of: Make
) -> None:
    """No JSON, bytes that are no UTF-8, too deep a nesting, a last line cut off: each counted."""
    whole = json.dumps(otlp(otlp_span())).encode()
    path = tmp_path / "traces.jsonl"
    path.write_bytes(
        b"\n".join(
            [
                whole,
                b"{no json",
                b"[" * 100_000,
                whole.replace(b"shop-1", b"shop-\xff"),
                b'{"resourceMetrics": []}',
                b"17",
                whole[:-30],
            ]
        )
    )

    spans, reading = reading_of(path)

    assert [span.name for span in spans] == ["chat shop-1", "chat shop-\ufffd"]
    assert reading.left_out == {
        "a line that is not JSON": OccurrenceCount(1, f"{path}:2"),
        "a line that is nested too deeply": OccurrenceCount(1, f"{path}:3"),
        NEITHER: OccurrenceCount(2, f"{path}:5: at its top resourceMetrics"),
        "the last line, which is cut off": OccurrenceCount(1, f"{path}:7"),
    }
    assert reading.repaired == {
        "bytes that are not UTF-8, read as U+FFFD": OccurrenceCount(1, f"{path}:4")
    }


def test_a_document_that_breaks_off_gives_what_stands_before(
    otlp: Make, otlp_span: Make, tmp_path: Path, reading_of: Make
) -> None:
    path = tmp_path / "export.json"
    text = json.dumps(otlp(*(otlp_span(name=f"chat {n}") for n in range(3))), indent=1)
    path.write_text(text[: text.index("chat 2")], encoding="utf-8")

    spans, reading = reading_of(path)

    assert [span.name for span in spans] == ["chat 0", "chat 1"]
    assert reading.left_out == {
        "the rest of a truncated JSON file": OccurrenceCount(1, f"{path}: record 2")
    }


@pytest.mark.parametrize("name", ["traces.jsonl", "export.json"])
def test_half_of_a_surrogate_pair_is_replaced_and_counted(
    name: str, otlp: Make, otlp_span: Make, tmp_path: Path, reading_of: Make
) -> None:
    document = otlp(
        otlp_span(name="half \ud83d"), otlp_span(name="whole \N{PILE OF POO}"), otlp_span()
    )
    path = tmp_path / name
    path.write_text(json.dumps(document, indent=1 if name == "export.json" else None))

    spans, reading = reading_of(path)

    assert [s.name for s in spans] == ["half \ufffd", "whole \N{PILE OF POO}", "chat shop-1"]
    assert [noted.count for noted in reading.repaired.values()] == [1]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"traceId": None}, "a span without an id of 32 and one of 16 hex digits"),
        ({"spanId": "0" * 16}, "a span without an id of 32 and one of 16 hex digits"),
        ({"traceId": 17}, "a span without an id of 32 and one of 16 hex digits"),
        ({"attributes": 5}, "attributes that are not a list"),
        ({"attributes": ["a"]}, "an attribute that is not a key with a value of a known type"),
        (
            {"attributes": [{"key": "a", "value": {"stringValue": 3}}]},
            "an attribute that is not a key with a value of a known type",
        ),
        (
            {"attributes": [{"key": "a", "value": {"intValue": "many"}}]},
            "an attribute that is not a key with a value of a known type",
        ),
        (
            {"attributes": [{"key": "a", "value": {"futureValue": 3}}]},
            "an attribute that is not a key with a value of a known type",
        ),
        ({"events": {}}, "events that are not a list"),
        ({"events": [7]}, "an event that is not an object"),
        ({"colour": "red"}, "the unknown field 'colour' of a span"),
    ],
)
def test_what_is_wrong_with_a_span_is_counted(
    fields: dict[str, Any],
    reason: str,
    otlp: Make,
    otlp_span: Make,
    written: Make,
    reading_of: Make,
) -> None:
    """Only a span without ids is left out as a whole; the one after it is always read."""
    path = written("traces.jsonl", otlp(otlp_span(**fields), otlp_span(name="next")))

    spans, reading = reading_of(path)

    assert spans[-1].name == "next"
    assert len(spans) == (1 if "without an id" in reason else 2)
    assert reading.left_out == {reason: OccurrenceCount(1, f"{path}:1")}


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, "3000000000", (3.0, 3.0)),
        ("2000000000", "soon", (2.0, 2.0)),
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


def test_records_and_blocks_of_the_wrong_type(
    otlp: Make, otlp_span: Make, written: Make, reading_of: Make
) -> None:
    path = written("traces.jsonl", otlp(7, otlp_span()), {"resourceSpans": "x"})

    spans, reading = reading_of(path)

    assert len(spans) == 1
    assert reading.left_out == {
        "one of the spans that is not an object": OccurrenceCount(1, f"{path}:1"),
        "resourceSpans that are not a list": OccurrenceCount(1, f"{path}:2"),
    }


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


def test_a_resource_after_its_spans_is_counted_in_a_document(
    otlp: Make, otlp_span: Make, tmp_path: Path, reading_of: Make
) -> None:
    """The spans have gone by; on a line, which is read whole, the order does not matter."""
    document = otlp(otlp_span())
    block = document["resourceSpans"][0]
    block["resource"] = block.pop("resource")
    (tmp_path / "a.json").write_text(json.dumps(document, indent=1))
    (tmp_path / "b.jsonl").write_text(json.dumps(document))

    spans, reading = reading_of(tmp_path)

    assert [span.resource for span in spans] == [{}, {"service.name": "shop"}]
    assert reading.left_out == {
        "a resource that follows its spans": OccurrenceCount(1, f"{tmp_path}/a.json: record 1")
    }


def test_memory_does_not_grow_with_the_file(otlp: Make, otlp_span: Make, tmp_path: Path) -> None:
    """Of a document of 23 MB less than a third is held at a time."""
    text = "x" * 2_000
    span = otlp_span(attributes=[attribute("text", stringValue=text)])
    document = otlp(*[span] * 10_000)
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
