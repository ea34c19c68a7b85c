"""Trace files → spans, one at a time: OTLP in JSON or protobuf, and what trace stores export.

Memory holds a line, a protobuf message or one element of a JSON document's list, not the file. Log
records that name a span (the events of the GenAI conventions) go to a temporary database first and
join their span when it comes.

Example:
    >>> reading = ImportReport()
    >>> for span in read_spans(["traces.jsonl"], reading): ...
    >>> reading.sentences()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tunegate.harness.telemetry.read import json_reader, protobuf_reader, table_reader
from tunegate.harness.telemetry.read.event_index import EventIndex
from tunegate.harness.telemetry.read.records import EventRecord
from tunegate.harness.telemetry.read.trace_input import (
    FileContent,
    FileFormat,
    open_contents,
    trace_files,
)
from tunegate.harness.telemetry.read.trace_types import ImportReport, Span


def read_spans(paths: Sequence[Path | str], reading: ImportReport) -> Iterator[Span]:
    """Yield the spans of trace files in the order of the files."""
    files = trace_files(paths)
    reading.files += len(files)
    with closing(EventIndex()) as events:
        for path in files:
            events.add(_events(path, reading))
        for path in files:
            for span in _spans(path, reading):
                reading.spans += 1
                joined = events.claim(span.trace_id, span.span_id)
                yield replace(span, events=span.events + joined) if joined else span
        for where in events.unclaimed():
            reading.leave_out("an event whose span is not in these files", where)


def _spans(path: Path, reading: ImportReport) -> Iterator[Span]:
    with open_contents(path, reading) as content:
        if content.form is FileFormat.PROTOBUF:
            yield from protobuf_reader.read_protobuf_spans(content, reading)
        elif content.form is FileFormat.JSON:
            yield from json_reader.read_json_spans(content, reading)
        elif content.form is FileFormat.TABLE:
            yield from table_reader.read_table_spans(content, reading)


def _events(path: Path, reading: ImportReport) -> Iterator[EventRecord]:
    """Yield the log records of a file; the other reading reports what is wrong with the file."""
    with open_contents(path, ImportReport()) as content:
        if not _may_hold_logs(content):
            return
    with open_contents(path, ImportReport()) as content:
        if content.form is FileFormat.PROTOBUF:
            yield from protobuf_reader.read_protobuf_events(content, reading)
        else:
            yield from json_reader.read_json_events(content, reading)


_LOGS = (b"resourceLogs", b"resource_logs")
_PIECE = 1 << 20


def _may_hold_logs(content: FileContent) -> bool:
    """Return whether a file is worth being parsed for log records."""
    if content.form is FileFormat.PROTOBUF:
        return content.holds_logs
    if content.form is not FileFormat.JSON:
        return False
    end = b""
    while piece := content.read(_PIECE):
        if any(mark in end + piece for mark in _LOGS):
            return True
        end = piece[-len(_LOGS[1]) :]
    return False
