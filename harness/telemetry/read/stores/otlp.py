"""OTLP in parts: resourceSpans without their envelope, and spans without their resource.

Arrays of resourceSpans, `batches` of Grafana Tempo's API and `data` of Phoenix' endpoint `otlpv1`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.telemetry.read.records import FileRecord
from tunegate.harness.telemetry.read.trace_types import ImportReport

NAME = "otlp"
ORDER = 10
FORM = "OTLP (resourceSpans), Tempo (batches)"
MARKS = (b'"resourceSpans"', b'"resource_spans"', b'"scopeSpans"', b'"startTimeUnixNano"')
_IDS = (("traceId", "spanId"), ("trace_id", "span_id"))
_TIMES = ("startTimeUnixNano", "start_time_unix_nano")


def matches(record: Mapping[str, Any]) -> bool:
    """Return whether the record is a span with OTLP's names."""
    has_ids = any(all(name in record for name in ids) for ids in _IDS)
    return has_ids and any(name in record for name in _TIMES)


def records(record: Mapping[str, Any], where: str, reading: ImportReport) -> Iterator[FileRecord]:
    """Yield the span."""
    yield FileRecord(record, {}, "", where)
