"""Lines of our own OTLP files as the objects that OpenTelemetry's exporters send.

The exporters know every variable and every kind of certificate; they are given objects of the SDK,
which are built here without a provider, so that a user's own is not touched.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.records.files import bounded_lines


def read_batches(path: Path, size: int) -> Iterator[tuple[int, Any]]:
    """Yield a file's items in batches of at least `size` for an exporter, with their number.

    `path` is traces.jsonl, logs.jsonl or metrics.jsonl, perhaps with `.gz`.
    """
    make = _MAKERS[path.name.removesuffix(".gz")]
    found: list[Any] = []
    packed = path.suffix == ".gz"
    with gzip.open(path) if packed else path.open("rb") as file:
        for _, line in bounded_lines(file, path):
            found += make(json.loads(line))
            if len(found) >= size:
                yield len(found), _wrap_metrics(path, found)
                found = []
    if found:
        yield len(found), _wrap_metrics(path, found)


def _wrap_metrics(path: Path, found: list[Any]) -> Any:
    """Return a batch as its exporter wants it: metrics come wrapped."""
    if path.name != "metrics.jsonl":
        return found
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics

    scopes = [
        ResourceMetrics(resource, [ScopeMetrics(scope, metrics, scope.schema_url or "")], "")
        for resource, scope, metrics in found
    ]
    return MetricsData(scopes)


def _scopes(line: Mapping[str, Any], signal: str) -> Iterator[tuple[Any, Any, Mapping[str, Any]]]:
    """Yield resource, scope and the rest of each part of a line."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    for outer in line[f"resource{signal}"]:
        resource = Resource(_attributes(outer["resource"]))
        for inner in outer[f"scope{signal}"]:
            named = inner["scope"]
            scope = InstrumentationScope(named["name"], named.get("version"), inner["schemaUrl"])
            yield resource, scope, inner


def _spans(line: Mapping[str, Any]) -> list[Any]:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link, SpanKind
    from opentelemetry.trace.status import Status, StatusCode

    def status(span: Mapping[str, Any]) -> Status:
        if "status" not in span:
            return Status(StatusCode.UNSET)
        return Status(StatusCode.ERROR, span["status"].get("message"))

    return [
        ReadableSpan(
            name=span["name"],
            context=_place(span),
            parent=_place(span | {"spanId": span["parentSpanId"]})
            if "parentSpanId" in span
            else None,
            resource=resource,
            attributes=_attributes(span),
            events=[
                Event(e["name"], _attributes(e), int(e["timeUnixNano"]))
                for e in span.get("events", ())
            ],
            links=[Link(_place(link)) for link in span.get("links", ())],
            kind=SpanKind(span["kind"] - 1),  # the API counts from 0, OTLP from 1
            status=status(span),
            start_time=int(span["startTimeUnixNano"]),
            end_time=int(span["endTimeUnixNano"]),
            instrumentation_scope=scope,
        )
        for resource, scope, inner in _scopes(line, "Spans")
        for span in inner["spans"]
    ]


def _logs(line: Mapping[str, Any]) -> list[Any]:
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.context import Context
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return [
        ReadableLogRecord(
            LogRecord(
                timestamp=int(record["timeUnixNano"]),
                observed_timestamp=int(record["observedTimeUnixNano"]),
                context=set_span_in_context(NonRecordingSpan(_place(record)), Context()),
                severity_text=record["severityText"],
                severity_number=SeverityNumber(record["severityNumber"]),
                attributes=_attributes(record),
                event_name=record["eventName"],
            ),
            resource,
            scope,
        )
        for resource, scope, inner in _scopes(line, "Logs")
        for record in inner["logRecords"]
    ]


def _metrics(line: Mapping[str, Any]) -> list[Any]:
    return [
        (resource, scope, [_metric(metric) for metric in inner["metrics"]])
        for resource, scope, inner in _scopes(line, "Metrics")
    ]


def _metric(metric: Mapping[str, Any]) -> Any:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Histogram,
        HistogramDataPoint,
        Metric,
        NumberDataPoint,
        Sum,
    )

    def times(point: Mapping[str, Any]) -> tuple[Any, int, int]:
        return (
            _attributes(point),
            int(point["startTimeUnixNano"]),
            int(point["timeUnixNano"]),
        )

    lasting = AggregationTemporality.CUMULATIVE
    data: Any
    if "sum" in metric:
        counted = [NumberDataPoint(*times(p), int(p["asInt"])) for p in metric["sum"]["dataPoints"]]
        data = Sum(counted, lasting, is_monotonic=True)
    else:
        points = [
            HistogramDataPoint(
                *times(p),
                count=int(p["count"]),
                sum=p["sum"],
                bucket_counts=[int(count) for count in p["bucketCounts"]],
                explicit_bounds=p["explicitBounds"],
                min=p["min"],
                max=p["max"],
            )
            for p in metric["histogram"]["dataPoints"]
        ]
        data = Histogram(points, lasting)
    return Metric(metric["name"], metric["description"], metric["unit"], data)


def _place(item: Mapping[str, Any]) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags

    trace_id, span_id = int(item["traceId"], 16), int(item["spanId"], 16)
    return SpanContext(trace_id, span_id, False, TraceFlags(TraceFlags.SAMPLED))


def _attributes(item: Mapping[str, Any]) -> dict[str, Any]:
    return {pair["key"]: _plain_value(pair["value"]) for pair in item["attributes"]}


def _plain_value(value: Mapping[str, Any]) -> Any:
    ((kind, found),) = value.items()
    if kind == "arrayValue":
        return tuple(_plain_value(item) for item in found["values"])
    return int(found) if kind == "intValue" else found


_MAKERS: dict[str, Callable[[Mapping[str, Any]], list[Any]]] = {
    "traces.jsonl": _spans,
    "logs.jsonl": _logs,
    "metrics.jsonl": _metrics,
}
