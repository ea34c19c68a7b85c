"""The spans of a recording, read from OTLP's JSON lines by the shortest way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunegate.harness.telemetry.read.types import Span, SpanEvent


def recorded_spans(folder: Path) -> Iterator[Span]:
    """Yield the spans of `traces.jsonl`, with the records of `logs.jsonl` as their events."""
    events: dict[str, list[SpanEvent]] = {}
    logs = folder / "logs.jsonl"
    for _, record in _items(logs, "Logs", "logRecords") if logs.is_file() else ():
        event = SpanEvent(
            record["eventName"], _pairs(record.get("attributes")), _value(record.get("body") or {})
        )
        events.setdefault(record["spanId"], []).append(event)
    for scope, span in _items(folder / "traces.jsonl", "Spans", "spans"):
        yield Span(
            trace_id=span["traceId"],
            span_id=span["spanId"],
            parent_id=span.get("parentSpanId"),
            name=span["name"],
            start_s=int(span["startTimeUnixNano"]) / 1e9,
            end_s=int(span["endTimeUnixNano"]) / 1e9,
            attributes=_pairs(span.get("attributes")),
            where=f"{folder.name}/traces.jsonl",
            events=tuple(events.get(span["spanId"], ())),
            scope=scope,
        )


def _items(path: Path, kind: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        for resource in json.loads(line)[f"resource{kind}"]:
            for scope in resource[f"scope{kind}"]:
                for item in scope[name]:
                    yield scope["scope"]["name"], item


def _pairs(pairs: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"] or {}) for pair in pairs or ()}


def _value(value: dict[str, Any]) -> Any:
    for kind, held in value.items():
        if kind == "intValue":
            return int(held)
        if kind == "arrayValue":
            return [_value(item or {}) for item in held.get("values", ())]
        if kind == "kvlistValue":
            return _pairs(held.get("values"))
        return held
    return None
