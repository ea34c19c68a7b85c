"""Zipkin's JSON, version 2: spans with `traceId`, `id` and `tags`, whose values are texts.

Source: https://zipkin.io/zipkin-api/zipkin2-api.yaml and OpenTelemetry's mapping to it
(specification, sdk_exporters/zipkin.md). Times are in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.telemetry.read.records import FileRecord
from tunegate.harness.telemetry.read.stores._fields import make_record, plain_number
from tunegate.harness.telemetry.read.trace_types import ImportReport

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
    tags = {name: plain_number(name, value) for name, value in (record.get("tags") or {}).items()}
    start, took = record.get("timestamp"), record.get("duration") or 0
    yield make_record(
        where,
        trace=record["traceId"],
        span=record["id"],
        parent=record.get("parentId"),
        name=record.get("name"),
        start_s=None if start is None else start / 1e6,
        end_s=None if start is None else (start + took) / 1e6,
        error=tags.pop("error", None),
        attributes=tags,
        events=[*_events(record.get("annotations") or ())],
        resource={"service.name": (record.get("localEndpoint") or {}).get("serviceName")},
        scope=next((tags[name] for name in _SCOPES if name in tags), ""),
    )


def _events(annotations: Any) -> Iterator[dict[str, Any]]:
    """Yield the events in annotations: `{"name": {attributes}}` as JSON, or a name."""
    for annotation in annotations:
        value = annotation["value"]
        try:
            named = json.loads(value)
        except ValueError:
            named = {value: {}}
        for name, attributes in named.items():
            yield {"name": name, "attributes": attributes}
