"""Reading traces as a whole: events that stand in files of their own join their spans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.telemetry.read.trace_types import OccurrenceCount, SpanEvent

Make = Callable[..., Any]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OTHER = "00f067aa0ba902b7"


def event(name: str, text: str = "Hi", **fields: Any) -> dict[str, Any]:
    """Return a log record that is an event of the span."""
    return {
        "traceId": TRACE,
        "spanId": SPAN,
        "eventName": name,
        "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": text}}]}},
    } | fields


def test_events_in_logs_jsonl_belong_to_their_span(
    otlp: Make, otlp_span: Make, logs: Make, written: Make, reading_of: Make
) -> None:
    own = [{"name": "own", "attributes": []}]
    path = written("traces.jsonl", otlp(otlp_span(events=own), otlp_span(spanId=OTHER)))
    written("logs.jsonl", logs(event("gen_ai.user.message"), event("gen_ai.choice", "Hello")))

    spans, reading = reading_of(path)

    assert spans[0].events == (
        SpanEvent("own", {}),
        SpanEvent("gen_ai.user.message", {}, {"content": "Hi"}),
        SpanEvent("gen_ai.choice", {}, {"content": "Hello"}),
    )
    assert spans[1].events == ()
    assert (reading.files, reading.spans, reading.sentences()) == (2, 2, [])


@pytest.mark.parametrize("indent", [None, 1])
def test_spans_and_log_records_in_one_file(
    indent: int | None, otlp: Make, otlp_span: Make, logs: Make, tmp_path: Path, reading_of: Make
) -> None:
    path = tmp_path / "all.json"
    values = [logs(event("gen_ai.user.message")), otlp(otlp_span()), logs(event("gen_ai.choice"))]
    path.write_text("\n".join(json.dumps(value, indent=indent) for value in values))

    spans, reading = reading_of(path)

    assert [found.name for found in spans[0].events] == ["gen_ai.user.message", "gen_ai.choice"]
    assert reading.sentences() == []


def test_events_that_join_nothing_are_counted(
    otlp: Make, otlp_span: Make, logs: Make, written: Make, reading_of: Make
) -> None:
    path = written("traces.jsonl", otlp(otlp_span()))
    beside = written(
        "logs.jsonl",
        logs(event("")),
        logs(event("gen_ai.choice", spanId=None)),
        logs(event("gen_ai.choice", spanId=OTHER)),
        logs(event("gen_ai.choice", body={"futureValue": 1})),
    )

    spans, reading = reading_of(path)

    assert spans[0].events == ()
    assert reading.left_out == {
        "a log record that is not an event of a model call": OccurrenceCount(1, f"{beside}:1"),
        "an event that names no span": OccurrenceCount(1, f"{beside}:2"),
        "an event whose span is not in these files": OccurrenceCount(1, f"{beside}:3"),
        "a record that breaks the rules of its format": OccurrenceCount(1, f"{beside}:4"),
    }


def test_a_broken_file_of_logs_is_counted_once(
    otlp: Make, otlp_span: Make, logs: Make, written: Make, reading_of: Make
) -> None:
    path = written("traces.jsonl", otlp(otlp_span()))
    beside = written("logs.jsonl", logs(event("gen_ai.choice")), '{"resourceLogs": [')

    spans, reading = reading_of(path)

    assert len(spans[0].events) == 1
    assert reading.left_out == {"a line that is not JSON": OccurrenceCount(1, f"{beside}:2")}
