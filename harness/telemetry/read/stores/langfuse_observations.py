"""Langfuse's exports: observations of its API, of its page as JSON, and of its blob storage.

Source: https://api.reference.langfuse.com (observations, traces) and langfuse.com/docs, export to
blob storage, whose names are in snake case. A trace of the API holds its observations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.telemetry.read.records import FileRecord
from tunegate.harness.telemetry.read.stores._fields import (
    dump_json,
    first_of,
    iso_seconds,
    make_record,
)
from tunegate.harness.telemetry.read.trace_types import ImportReport

NAME = "langfuse"
ORDER = 50
FORM = "Langfuse (observations with traceId and type)"
MARKS = (b'"GENERATION"',)
COLUMNS = ({"traceId", "id", "type"}, {"trace_id", "id", "type"})
_OWN = "langfuse.observation."
_TYPES = {
    "GENERATION", "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING",
    "GUARDRAIL",
}  # fmt: skip


def matches(record: Mapping[str, Any]) -> bool:
    """Return whether the record is an observation, or a trace with some."""
    if record.get("observations"):
        return matches(record["observations"][0])
    named = ("traceId" in record or "trace_id" in record) and "id" in record
    return named and str(record.get("type")).upper() in _TYPES


def records(record: Mapping[str, Any], where: str, reading: ImportReport) -> Iterator[FileRecord]:
    """Yield the observations, those of a trace with its session."""
    session = first_of(record, "sessionId", "session_id")
    for one in record.get("observations") or [record]:
        yield _observation(one, session, where)


def _observation(one: Mapping[str, Any], session: Any, where: str) -> FileRecord:
    costs = first_of(one, "costDetails", "cost_details")
    total = first_of(one, "calculatedTotalCost", "totalCost", "total_cost")
    known = {
        f"{_OWN}type": str(one.get("type")).lower(),
        f"{_OWN}input": dump_json(one.get("input")),
        f"{_OWN}output": dump_json(one.get("output")),
        f"{_OWN}model.name": first_of(one, "model", "providedModelName", "provided_model_name"),
        f"{_OWN}model.parameters": dump_json(_numbers(one)),
        f"{_OWN}usage_details": dump_json(first_of(one, "usageDetails", "usage_details", "usage")),
        f"{_OWN}cost_details": dump_json(costs or (None if total is None else {"total": total})),
        "langfuse.session.id": first_of(one, "sessionId", "session_id") or session,
    }
    metadata = one.get("metadata")
    for name in ("response_format", "finish_reason", "tool_choice"):
        if isinstance(metadata, Mapping) and metadata.get(name) is not None:
            known[f"{_OWN}metadata.{name}"] = dump_json(metadata[name])
    failed = one.get("level") == "ERROR"
    return make_record(
        where,
        trace=first_of(one, "traceId", "trace_id"),
        span=one["id"],
        parent=first_of(one, "parentObservationId", "parent_observation_id"),
        name=one.get("name"),
        start_s=iso_seconds(first_of(one, "startTime", "start_time")),
        end_s=iso_seconds(first_of(one, "endTime", "end_time")),
        attributes={name: value for name, value in known.items() if value is not None},
        error=str(first_of(one, "statusMessage", "status_message") or "") if failed else None,
        scope="langfuse",
    )


def _numbers(one: Mapping[str, Any]) -> Any:
    """Return the model's parameters, with numbers for the texts that the API has for them."""
    given = first_of(one, "modelParameters", "model_parameters")
    if not isinstance(given, Mapping):
        return given
    return {name: _number(value) for name, value in given.items()}


def _number(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) and value != "Infinity" else value
    except ValueError:
        return value
