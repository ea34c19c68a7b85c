"""Spans as tests write them down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.harness.telemetry.read.trace_types import Span, SpanEvent


def made_span(
    attributes: Mapping[str, Any],
    *,
    number: int = 1,
    parent: int | None = None,
    trace: str = "a" * 32,
    scope: str = "",
    span_id: str | None = None,
    events: Sequence[SpanEvent] = (),
) -> Span:
    """Return a span of one second with an id made of its number."""
    return Span(
        trace_id=trace,
        span_id=span_id or f"{number:016x}",
        parent_id=None if parent is None else f"{parent:016x}",
        name="chat",
        start_s=float(number),
        end_s=number + 1.0,
        attributes=attributes,
        where=f"traces.jsonl:{number}",
        events=tuple(events),
        scope=scope,
    )
