"""Jaeger's JSON: traces with `spans` and `processes`, as its API and its page download them.

Source: https://www.jaegertracing.io/docs/2.dev/architecture/apis and `model/json` of its
repository. Times are in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.telemetry.read.records import (
    FileRecord,
    make_record,
    micro_seconds,
)
from tunegate.harness.telemetry.read.types import ImportReport

NAME = "jaeger"
ORDER = 30
FORM = "Jaeger (data[].spans[].operationName)"
MARKS = (b'"operationName"',)
_SCOPES = ("otel.scope.name", "otel.library.name")


def matches(record: Mapping[str, Any]) -> bool:
    """Return whether the record is a trace or a span of Jaeger's."""
    spans = record.get("spans")
    if isinstance(spans, list):
        return any(isinstance(span, Mapping) and "operationName" in span for span in spans)
    return "operationName" in record and "spanID" in record


def records(record: Mapping[str, Any], where: str, reading: ImportReport) -> Iterator[FileRecord]:
    """Yield the spans of a trace."""
    processes = record.get("processes")
    known = processes if isinstance(processes, Mapping) else {}
    for span in record.get("spans", [record]):
        if isinstance(span, Mapping):
            yield _span(span, known.get(span.get("processID"), span.get("process")), where)
        else:
            reading.leave_out("a span that is not an object", where)


def _span(span: Mapping[str, Any], process: Any, where: str) -> FileRecord:
    tags = _tags(span.get("tags"))
    resource: dict[str, Any] = {}
    if isinstance(process, Mapping):
        resource = _tags(process.get("tags"))
        resource["service.name"] = process.get("serviceName", "")
    start = micro_seconds(span.get("startTime"))
    took = micro_seconds(span.get("duration")) or 0.0
    failed = tags.pop("error", False) is True or tags.get("otel.status_code") == "ERROR"
    logs = [_tags(log.get("fields")) for log in span.get("logs") or () if isinstance(log, Mapping)]
    return make_record(
        where,
        trace=span.get("traceID"),
        span=span.get("spanID"),
        parent=_parent(span),
        name=span.get("operationName"),
        start_s=start,
        end_s=None if start is None else start + took,
        attributes=tags,
        events=[{"name": str(log.pop("event", "")), "attributes": log} for log in logs],
        error=str(tags.get("otel.status_description", "")) if failed else None,
        resource=resource,
        scope=next((tags[name] for name in _SCOPES if name in tags), ""),
    )


def _parent(span: Mapping[str, Any]) -> Any:
    for reference in span.get("references") or ():
        is_parent = isinstance(reference, Mapping) and reference.get("refType") == "CHILD_OF"
        if is_parent and reference.get("traceID") == span.get("traceID"):
            return reference.get("spanID")
    return span.get("parentSpanID")


def _tags(raw: Any) -> dict[str, Any]:
    pairs = [tag for tag in raw or () if isinstance(tag, Mapping) and "key" in tag]
    return {str(tag["key"]): tag.get("value") for tag in pairs}
