"""Spans with a `context`: OpenTelemetry's console exporter for Python, and Phoenix.

The exporter prints `ReadableSpan.to_json()`; Phoenix' REST API and its data frame have the same
names, the frame with `context.span_id` and `attributes.…` as columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.telemetry.read.records import (
    FileRecord,
    flat_attributes,
    iso_seconds,
    make_record,
)
from tunegate.harness.telemetry.read.types import ImportReport

NAME = "span-context"
ORDER = 20
FORM = "the SDK's console exporter and Phoenix (context.trace_id)"
MARKS = (b'"context"', b'"context.span_id"')
_COLUMN = "context.span_id"
_ATTRIBUTES = "attributes."


def matches(record: Mapping[str, Any]) -> bool:
    """Return whether the record names its context."""
    context = record.get("context")
    return _COLUMN in record or (isinstance(context, Mapping) and "span_id" in context)


def records(record: Mapping[str, Any], where: str, reading: ImportReport) -> Iterator[FileRecord]:
    """Yield the span."""
    context = record.get("context")
    if not isinstance(context, Mapping):
        context = {name: record.get(f"context.{name}") for name in ("trace_id", "span_id")}
    known = flat_attributes(record.get("attributes"))
    for name, value in record.items():
        if name.startswith(_ATTRIBUTES):
            known |= flat_attributes(value, name.removeprefix(_ATTRIBUTES))
    if isinstance(kind := record.get("span_kind"), str):  # Phoenix has it next to the attributes
        known.setdefault("openinference.span.kind", kind)
    resource = record.get("resource")
    resource = resource.get("attributes") if isinstance(resource, Mapping) else None
    scope = record.get("instrumentation_scope")
    events = record.get("events")
    yield make_record(
        where,
        trace=context.get("trace_id"),
        span=context.get("span_id"),
        parent=record.get("parent_id"),
        name=record.get("name"),
        start_s=iso_seconds(record.get("start_time")),
        end_s=iso_seconds(record.get("end_time")),
        attributes=known,
        events=[one for one in events if isinstance(one, Mapping)]
        if isinstance(events, list)
        else (),
        error=_error(record),
        resource=resource if isinstance(resource, Mapping) else None,
        scope=scope.get("name") if isinstance(scope, Mapping) else "",
    )


def _error(record: Mapping[str, Any]) -> str | None:
    status = record.get("status")
    if isinstance(status, Mapping):
        code, told = status.get("status_code"), status.get("description")
    else:
        code, told = record.get("status_code"), record.get("status_message")
    return str(told or "") if code == "ERROR" else None
