"""Spans with a `context`: OpenTelemetry's console exporter for Python, and Phoenix.

The exporter prints `ReadableSpan.to_json()`; Phoenix's REST API and its data frame have the same
names, the frame with `context.span_id` and `attributes.…` as columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.telemetry.read.records import FileRecord
from tunegate.harness.telemetry.read.stores._fields import (
    flat_attributes,
    iso_seconds,
    make_record,
)
from tunegate.harness.telemetry.read.trace_types import ImportReport

NAME = "span-context"
ORDER = 20
FORM = "the SDK's console exporter and Phoenix (context.trace_id)"
MARKS = (b'"context"', b'"context.span_id"')
COLUMNS = ({"context.span_id", "context.trace_id"},)
_COLUMN = "context.span_id"
_ATTRIBUTES = "attributes."


def matches(record: Mapping[str, Any]) -> bool:
    """Return whether the record names its context."""
    return _COLUMN in record or "span_id" in (record.get("context") or ())


def records(record: Mapping[str, Any], where: str, reading: ImportReport) -> Iterator[FileRecord]:
    """Yield the span."""
    context = record.get("context") or {
        name: record[f"context.{name}"] for name in ("trace_id", "span_id")
    }
    attributes = flat_attributes(record.get("attributes"))
    for name, value in record.items():
        if name.startswith(_ATTRIBUTES):
            attributes |= flat_attributes(value, name.removeprefix(_ATTRIBUTES))
    if "span_kind" in record:  # Phoenix has it next to the attributes
        attributes.setdefault("openinference.span.kind", record["span_kind"])
    yield make_record(
        where,
        trace=context["trace_id"],
        span=context["span_id"],
        parent=record.get("parent_id"),
        name=record.get("name"),
        start_s=iso_seconds(record.get("start_time")),
        end_s=iso_seconds(record.get("end_time")),
        attributes=attributes,
        events=record.get("events") or (),
        error=_error(record),
        resource=(record.get("resource") or {}).get("attributes"),
        scope=(record.get("instrumentation_scope") or {}).get("name") or "",
    )


def _error(record: Mapping[str, Any]) -> str | None:
    status = record.get("status") or {}
    code = status.get("status_code") or record.get("status_code")
    message = status.get("description") or record.get("status_message")
    return (message or "") if code == "ERROR" else None
