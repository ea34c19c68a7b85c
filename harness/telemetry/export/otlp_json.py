"""OTLP/JSON encoding of spans, log records and metrics.

Ids are hex, enums integers, keys lowerCamelCase, 64-bit integers texts. It is written here because
a run of 10,000 cases has 150,000 of these objects: the exporters of OpenTelemetry's SDK take four
times as long for each, and need it in memory as three other objects first.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

from tunegate.harness.records.record import replace_surrogates
from tunegate.harness.telemetry.export.attribute_names import ERROR_TYPE, SCHEMA_URL, SCOPE

NON_FINITE = "non_finite"
"""`error.type` where a number was not finite."""
_SAMPLED = 1
_ERROR = 2


class SpanKind(IntEnum):
    """The kind of a span."""

    INTERNAL = 1
    """Work of this process."""
    CLIENT = 3
    """A request to another process."""


class LogSeverity(IntEnum):
    """The severity of a log record."""

    INFO = 9
    WARN = 13


class SpanText(NamedTuple):
    """A span with its attributes already encoded."""

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
    """Why it failed, possibly empty; None if it did not."""

    def json(self, trace_id: str) -> str:
        """Return the span as OTLP has it."""
        more = f',"parentSpanId":"{self.parent_id}"' if self.parent_id else ""
        if self.links:
            linked = [f'{{"traceId":"{trace_id}","spanId":"{to}"}}' for to in self.links]
            more += f',"links":[{",".join(linked)}]'
        if self.error is not None:
            message = f'"message":{quote_json(self.error)},' if self.error else ""
            more += f',"status":{{{message}"code":{_ERROR}}}'
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

    `at` is Unix time in nanoseconds, `values` its encoded attributes, `place` its trace and span.
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
        """Return a TracesData, LogsData or MetricsData with `spans`, `logRecords` or `metrics`."""
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

    None is left out, and so are numbers that are not finite, which JSON cannot hold; the error type
    then says so. Mappings become JSON texts.
    """
    present = {name: value for name, value in values.items() if value is not None}
    if not all(map(_is_finite, present.values())):
        present = {name: value for name, value in present.items() if _is_finite(value)}
        present.setdefault(ERROR_TYPE, NON_FINITE)
    return ",".join([f"{_key(name)}{_value_json(value)}}}" for name, value in present.items()])


def join_attributes(*parts: str) -> str:
    """Return several texts of attributes as one."""
    return ",".join(filter(None, parts))


def quote_json(value: str) -> str:
    """Return a text as JSON that protobuf reads: with U+FFFD for half a surrogate pair."""
    return encode_basestring_ascii(value if value.isascii() else replace_surrogates(value))


@cache
def _key(name: str) -> str:
    return f'{{"key":{quote_json(name)},"value":'


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def json_text(value: Any) -> str:
    """Return a JSON value as text, keys in their order, with null for NaN and infinity."""
    return json.dumps(_replace_non_finite(value), separators=(",", ":"), allow_nan=False)


def _replace_non_finite(value: Any) -> Any:
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
