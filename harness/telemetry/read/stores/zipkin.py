"""Zipkin's JSON, version 2: spans with `traceId`, `id` and `tags`, whose values are texts.

Source: https://zipkin.io/zipkin-api/zipkin2-api.yaml and OpenTelemetry's mapping to it
(specification, sdk_exporters/zipkin.md). Times are in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.telemetry.read.records import (
    FileRecord,
    make_record,
    micro_seconds,
    plain_number,
)
from tunegate.harness.telemetry.read.types import ImportReport

NAME = "zipkin"
ORDER = 40
FORM = "Zipkin 2 (traceId, id, tags)"
MARKS = (b'"localEndpoint"',)
_SCOPES = ("otel.scope.name", "otel.library.name")


def matches(record: Mapping[str, Any]) -> bool:
    """Return whether the record is a span of Zipkin's."""
    named = "traceId" in record and "id" in record and "type" not in record
    return named and ("localEndpoint" in record or "timestamp" in record or "tags" in record)


def records(record: Mapping[str, Any], where: str, reading: ImportReport) -> Iterator[FileRecord]:
    """Yield the span."""
    raw, endpoint = record.get("tags"), record.get("localEndpoint")
    tags = {
        name: plain_number(name, value)
        for name, value in (raw.items() if isinstance(raw, Mapping) else ())
    }
    error = tags.pop("error", None)
    start = micro_seconds(record.get("timestamp"))
    took = micro_seconds(record.get("duration")) or 0.0
    yield make_record(
        where,
        trace=record.get("traceId"),
        span=record.get("id"),
        parent=record.get("parentId"),
        name=record.get("name"),
        start_s=start,
        end_s=None if start is None else start + took,
        attributes=tags,
        events=[*_events(record.get("annotations"))],
        error=None if error is None else str(error),
        resource={"service.name": endpoint.get("serviceName")}
        if isinstance(endpoint, Mapping)
        else None,
        scope=next((tags[name] for name in _SCOPES if name in tags), ""),
    )


def _events(raw: Any) -> Iterator[dict[str, Any]]:
    """Yield the events in annotations: `{"name": {attributes}}` as JSON, or a name."""
    for annotation in raw if isinstance(raw, list) else ():
        value = annotation.get("value") if isinstance(annotation, Mapping) else None
        try:
            found = json.loads(str(value))
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, Mapping):
            for name, known in found.items():
                yield {"name": name, "attributes": known if isinstance(known, Mapping) else {}}
        else:
            yield {"name": str(value), "attributes": {}}
