"""Lines of our own OTLP files as the bodies of OTLP requests.

A request (ExportTraceServiceRequest …) has the fields of the data in a line (TracesData …).
Protobuf's own JSON reader is not used: it has ids in base64, and takes five times as long.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from tunegate.harness.records.files import bounded_lines

_ITEMS = {"Spans": "spans", "Logs": "logRecords", "Metrics": "metrics"}
"""Part of a key such as `resourceSpans` → the key of the items in a scope."""
_REQUESTS = {
    "resourceSpans": ("trace.v1.trace_service_pb2", "ExportTraceServiceRequest"),
    "resourceLogs": ("logs.v1.logs_service_pb2", "ExportLogsServiceRequest"),
    "resourceMetrics": ("metrics.v1.metrics_service_pb2", "ExportMetricsServiceRequest"),
}
"""Key of a line → module in `opentelemetry.proto.collector` and message of its request."""
_IDS = {"traceId", "spanId", "parentSpanId"}
"""Keys whose values are bytes: hex in OTLP/JSON."""
_WHOLE = {
    "startTimeUnixNano", "endTimeUnixNano", "timeUnixNano", "observedTimeUnixNano", "intValue",
    "asInt", "count", "bucketCounts",
}  # fmt: skip
"""Keys whose values are 64-bit numbers, which are texts in OTLP/JSON."""

Encode = Callable[[Mapping[str, Any]], bytes]


def read_batches(path: Path, size: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield requests of at least `size` spans, log records or metrics, with their number.

    `path` is traces.jsonl, logs.jsonl or metrics.jsonl, perhaps with `.gz`. All lines of a file
    have the same resource and scope.
    """
    items: list[Any] = []
    packed = path.suffix == ".gz"
    with gzip.open(path) if packed else path.open("rb") as file:
        for _, line in bounded_lines(file, path):
            ((key, (resource,)),) = json.loads(line).items()
            kind = key.removeprefix("resource")
            (scope,) = resource[f"scope{kind}"]
            items += scope[_ITEMS[kind]]
            scope[_ITEMS[kind]] = items
            if len(items) >= size:
                yield len(items), {key: [resource]}
                items = []
    if items:
        yield len(items), {key: [resource]}


def encode_json(request: Mapping[str, Any]) -> bytes:
    """Return a request in OTLP/JSON, as our files have it."""
    return json.dumps(request, separators=(",", ":")).encode()


def encode_protobuf(request: Mapping[str, Any]) -> bytes:
    """Return a request in protobuf."""
    ((key, resources),) = request.items()
    module, name = _REQUESTS[key]
    message = getattr(import_module(f"opentelemetry.proto.collector.{module}"), name)
    encoded: bytes = message(**_fields({key: resources})).SerializeToString()
    return encoded


def _fields(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of OTLP/JSON as the arguments of its message."""
    return {_snake_case(key): _field(key, item) for key, item in value.items()}


def _field(key: str, item: Any) -> Any:
    if isinstance(item, dict):
        return _fields(item)
    if isinstance(item, list):
        return [_field(key, part) for part in item]
    if key in _IDS:
        return bytes.fromhex(item)
    return int(item) if key in _WHOLE else item


@cache
def _snake_case(key: str) -> str:
    return re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key)
