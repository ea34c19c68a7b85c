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
    for observation in record.get("observations") or [record]:
        yield _observation(observation, session, where)


def _observation(observation: Mapping[str, Any], session: Any, where: str) -> FileRecord:
    costs = first_of(observation, "costDetails", "cost_details")
    total = first_of(observation, "calculatedTotalCost", "totalCost", "total_cost")
    attributes = {
        f"{_OWN}type": str(observation.get("type")).lower(),
        f"{_OWN}input": dump_json(observation.get("input")),
        f"{_OWN}output": dump_json(observation.get("output")),
        f"{_OWN}model.name": first_of(
            observation, "model", "providedModelName", "provided_model_name"
        ),
        f"{_OWN}model.parameters": dump_json(_numbers(observation)),
        f"{_OWN}usage_details": dump_json(
            first_of(observation, "usageDetails", "usage_details", "usage")
        ),
        f"{_OWN}cost_details": dump_json(costs or (None if total is None else {"total": total})),
        "langfuse.session.id": first_of(observation, "sessionId", "session_id") or session,
    }
    metadata = observation.get("metadata")
    for name in ("response_format", "finish_reason", "tool_choice"):
        if isinstance(metadata, Mapping) and metadata.get(name) is not None:
            attributes[f"{_OWN}metadata.{name}"] = dump_json(metadata[name])
    failed = observation.get("level") == "ERROR"
    return make_record(
        where,
        trace=first_of(observation, "traceId", "trace_id"),
        span=observation["id"],
        parent=first_of(observation, "parentObservationId", "parent_observation_id"),
        name=observation.get("name"),
        start_s=iso_seconds(first_of(observation, "startTime", "start_time")),
        end_s=iso_seconds(first_of(observation, "endTime", "end_time")),
        attributes={name: value for name, value in attributes.items() if value is not None},
        error=str(first_of(observation, "statusMessage", "status_message") or "")
        if failed
        else None,
        scope="langfuse",
    )


def _numbers(observation: Mapping[str, Any]) -> Any:
    """Return the model's parameters, with numbers for the texts that the API has for them."""
    parameters = first_of(observation, "modelParameters", "model_parameters")
    if not isinstance(parameters, Mapping):
        return parameters
    return {name: _number(value) for name, value in parameters.items()}


def _number(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) and value != "Infinity" else value
    except ValueError:
        return value
