"""Jaeger's JSON: traces with `spans` and `processes`, as its API and its page download them.

Source: https://www.jaegertracing.io/docs/2.dev/architecture/apis and `model/json` of its
repository. Times are in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.telemetry.read.records import FileRecord
from tunegate.harness.telemetry.read.stores._fields import make_record
from tunegate.harness.telemetry.read.trace_types import ImportReport

NAME = "jaeger"
ORDER = 30
FORM = "Jaeger (data[].spans[].operationName)"
MARKS = (b'"operationName"',)
_SCOPES = ("otel.scope.name", "otel.library.name")


def matches(record: Mapping[str, Any]) -> bool:
    """Return whether the record is a trace of Jaeger's."""
    return any("operationName" in span for span in record.get("spans") or ())


def records(record: Mapping[str, Any], where: str, reading: ImportReport) -> Iterator[FileRecord]:
    """Yield the spans of a trace."""
    processes = record.get("processes") or {}
    for span in record["spans"]:
        yield _span(span, processes.get(span.get("processID")) or {}, where)


def _span(span: Mapping[str, Any], process: Mapping[str, Any], where: str) -> FileRecord:
    tags = _tags(span.get("tags"))
    start = span["startTime"] / 1e6
    failed = tags.pop("error", False) is True or tags.get("otel.status_code") == "ERROR"
    logs = [_tags(log.get("fields")) for log in span.get("logs") or ()]
    return make_record(
        where,
        trace=span["traceID"],
        span=span["spanID"],
        parent=_parent(span),
        name=span.get("operationName"),
        start_s=start,
        end_s=start + span.get("duration", 0) / 1e6,
        attributes=tags,
        events=[{"name": str(log.pop("event", "")), "attributes": log} for log in logs],
        error=str(tags.get("otel.status_description", "")) if failed else None,
        resource=_tags(process.get("tags")) | {"service.name": process.get("serviceName", "")},
        scope=next((tags[name] for name in _SCOPES if name in tags), ""),
    )


def _parent(span: Mapping[str, Any]) -> Any:
    for reference in span.get("references") or ():
        if reference["refType"] == "CHILD_OF" and reference["traceID"] == span["traceID"]:
            return reference["spanID"]
    return span.get("parentSpanID")


def _tags(raw: Any) -> dict[str, Any]:
    return {tag["key"]: tag.get("value") for tag in raw or ()}
