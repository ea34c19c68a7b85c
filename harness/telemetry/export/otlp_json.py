"""OTLP/JSON encoding of spans, log records and metrics, and decoding of our own files.

The encoding is that of the OTLP specification: ids in hex, enums as integers, keys in
lowerCamelCase, 64-bit integers as texts. It is written here because a run of 10,000 cases has
150,000 of these objects: the exporters of OpenTelemetry's SDK take four times as long for one, and
need it in memory as three other objects first.

Lines of our own OTLP files as the objects that OpenTelemetry's exporters send. The exporters of
OpenTelemetry know every variable and every kind of certificate; they are given objects of its SDK,
which are built here without a provider: a user's own is not touched.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, NamedTuple

from tunegate.harness.records.record import replace_surrogates
from tunegate.harness.telemetry.export.attribute_names import ERROR_TYPE, SCHEMA_URL, SCOPE

NON_FINITE = "non_finite"
"""`error.type` of what would have held a number that is none."""
_SAMPLED = 1
_ERROR = 2


class SpanKind(IntEnum):
    """The kind of a span."""

    INTERNAL = 1
    """Work of this process."""
    CLIENT = 3
    """A question to another one."""


class LogSeverity(IntEnum):
    """How a log record is meant."""

    INFO = 9
    WARN = 13


class SpanText(NamedTuple):
    """A span whose parts are texts already, but for its place in the tree."""

    name: str
    span_id: str
    parent_id: str | None
    start: int
    """Unix time in nanoseconds."""
    end: int
    attributes: str
    kind: SpanKind = SpanKind.INTERNAL
    links: tuple[str, ...] = ()
    """Ids of spans of the same trace."""
    error: str | None = None
    """Why it failed, in words, which may be none; None if it did not."""

    def json(self, trace_id: str) -> str:
        """Return the span as OTLP has it."""
        more = f',"parentSpanId":"{self.parent_id}"' if self.parent_id else ""
        if self.links:
            linked = [f'{{"traceId":"{trace_id}","spanId":"{to}"}}' for to in self.links]
            more += f',"links":[{",".join(linked)}]'
        if self.error is not None:
            said = f'"message":{quote_json(self.error)},' if self.error else ""
            more += f',"status":{{{said}"code":{_ERROR}}}'
        return (
            f'{{"traceId":"{trace_id}","spanId":"{self.span_id}","flags":{_SAMPLED},'
            f'"name":{quote_json(self.name)},"kind":{self.kind:d},'
            f'"startTimeUnixNano":"{self.start}","endTimeUnixNano":"{max(self.end, self.start)}",'
            f'"attributes":[{self.attributes}]{more}}}'
        )


_SEVERITIES = {
    warn: f'"severityNumber":{int(level)},"severityText":"{level.name}"'
    for warn, level in ((False, LogSeverity.INFO), (True, LogSeverity.WARN))
}
"""Whether something went wrong → the severity of a log record, as text."""


def log_record(name: str, at: int, values: str, *, place: tuple[str, str], warn: bool) -> str:
    """Return an event as a log record.

    Args:
        name: The event.
        at: Unix time in nanoseconds.
        values: Its attributes as text.
        place: Trace and span that it belongs to.
        warn: Whether it reports that something went wrong.
    """
    return (
        f'{{"timeUnixNano":"{at}","observedTimeUnixNano":"{at}",{_SEVERITIES[warn]},'
        f'"eventName":{quote_json(name)},"attributes":[{values}],'
        f'"traceId":"{place[0]}","spanId":"{place[1]}","flags":{_SAMPLED}}}'
    )


@dataclass(frozen=True, slots=True)
class OtlpEnvelope:
    """Envelope of spans, log records or metrics in a line of a file."""

    resource: str
    """Attributes of the program, as text."""
    version: str
    """Of tunegate."""

    def line(self, signal: str, items: Iterable[str]) -> str:
        """Return a line of its own: a TracesData, a LogsData or a MetricsData.

        Args:
            signal: `spans`, `logRecords` or `metrics`.
            items: Those of the line.
        """
        outer, inner = _LEVELS[signal]
        scope = f'{{"name":"{SCOPE}","version":{quote_json(self.version)}}}'
        return (
            f'{{"{outer}":[{{"resource":{{"attributes":[{self.resource}]}},"{inner}":[{{'
            f'"scope":{scope},"{signal}":[{",".join(items)}],"schemaUrl":"{SCHEMA_URL}"}}]}}]}}\n'
        )


_LEVELS = {
    "spans": ("resourceSpans", "scopeSpans"),
    "logRecords": ("resourceLogs", "scopeLogs"),
    "metrics": ("resourceMetrics", "scopeMetrics"),
}


def attributes_json(values: Mapping[str, Any]) -> str:
    """Return attributes as text, without the brackets around them.

    What is None is left out. So is a number that is not finite, which JSON cannot hold; the error
    type then names that. Mappings are written as JSON texts.
    """
    known = {name: value for name, value in values.items() if value is not None}
    if not all(map(_is_finite, known.values())):
        known = {name: value for name, value in known.items() if _is_finite(value)}
        known.setdefault(ERROR_TYPE, NON_FINITE)
    return ",".join([f"{_key(name)}{_value_json(value)}}}" for name, value in known.items()])


def join_attributes(*parts: str) -> str:
    """Return several texts of attributes as one."""
    return ",".join(filter(None, parts))


def quote_json(value: str) -> str:
    """Return a text as JSON that protobuf reads: half of a surrogate pair is no character."""
    return encode_basestring_ascii(value if value.isascii() else replace_surrogates(value))


@cache
def _key(name: str) -> str:
    return f'{{"key":{quote_json(name)},"value":'


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def json_text(value: Any) -> str:
    """Return a JSON value as text, keys in their order, with null for what is no number."""
    return json.dumps(_replace_non_finite(value), separators=(",", ":"), allow_nan=False)


def _replace_non_finite(value: Any) -> Any:
    """Return a JSON value with null for what is no number."""
    if isinstance(value, Mapping):
        return {str(name): _replace_non_finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace_non_finite(item) for item in value]
    return value if _is_finite(value) else None


def _value_json(value: Any) -> str:
    if isinstance(value, str):
        return f'{{"stringValue":{quote_json(value)}}}'
    if isinstance(value, bool):
        return '{"boolValue":true}' if value else '{"boolValue":false}'
    if isinstance(value, int):
        return f'{{"intValue":"{value}"}}'
    if isinstance(value, float):
        return f'{{"doubleValue":{value!r}}}'
    if isinstance(value, Mapping):
        return f'{{"stringValue":{quote_json(json_text(value))}}}'
    items = ",".join(_value_json(item) for item in value if _is_finite(item))
    return f'{{"arrayValue":{{"values":[{items}]}}}}'


def read_batches(path: Path, size: int) -> Iterator[tuple[int, Any]]:
    """Yield what a file holds in parts that an exporter takes, each with its number of items.

    Args:
        path: traces.jsonl, logs.jsonl or metrics.jsonl; the first two perhaps packed, with `.gz`.
        size: Items that a part has at least, if there are as many.
    """
    make = _MAKERS[path.name.removesuffix(".gz")]
    found: list[Any] = []
    packed = path.suffix == ".gz"
    with (
        gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as lines
    ):
        for line in lines:
            found += make(json.loads(line))
            if len(found) >= size:
                yield len(found), _wrap_metrics(path, found)
                found = []
    if found:
        yield len(found), _wrap_metrics(path, found)


def _wrap_metrics(path: Path, found: list[Any]) -> Any:
    """Return a part as its exporter wants it: metrics come wrapped."""
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
