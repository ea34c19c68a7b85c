"""The span contract: what is read from a trace file, whatever program and format wrote it.

The fields are those of OTLP's `Span` (opentelemetry-proto `trace/v1`), with attribute values as
plain Python: strings, numbers, booleans, lists and dicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened during a span; a log record that names the span counts as one."""

    name: str
    attributes: Mapping[str, Any]
    body: Any = None
    """The body of a log record: a text or a mapping; None for an event of the span itself."""


@dataclass(frozen=True, slots=True)
class Span:
    """One unit of work of a trace."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    parent_id: str | None
    """16 hex digits; None for a root."""
    name: str
    start_s: float
    """Unix time in seconds."""
    end_s: float
    """Unix time in seconds."""
    attributes: Mapping[str, Any]
    where: str
    """File and line or record, such as `traces.jsonl:17`, for messages."""
    events: tuple[SpanEvent, ...] = ()
    resource: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the program that wrote it (`service.name`)."""
    scope: str = ""
    """Name of the instrumentation library."""
    error: str | None = None
    """The status message of a failed span, empty where it has none; None if it did not fail."""
