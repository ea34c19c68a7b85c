"""LangSmith's runs: `run_type`, `inputs` and `outputs`, as its SDK lists and exports them.

Source: https://docs.langchain.com/langsmith/run-data-format.
"""

from __future__ import annotations

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

NAME = "langsmith"
ORDER = 60
FORM = "LangSmith (run_type, inputs)"
MARKS = (b'"run_type"',)
COLUMNS = ({"run_type", "inputs", "id"},)


def matches(record: Mapping[str, Any]) -> bool:
    """Return whether the record is a run."""
    return "run_type" in record and "inputs" in record and "id" in record


def records(record: Mapping[str, Any], where: str, reading: ImportReport) -> Iterator[FileRecord]:
    """Yield the run, with the facts of its `extra` about the request."""
    extra = record.get("extra") or {}
    attributes = {
        f"langsmith.metadata.{name}": dump_json(value) if isinstance(value, Mapping) else value
        for name, value in (extra.get("metadata") or {}).items()
    }
    attributes |= {
        "langsmith.span.kind": record["run_type"],
        "gen_ai.prompt": dump_json(record["inputs"]),
        "gen_ai.completion": dump_json(record.get("outputs")),
        "langsmith.invocation_params": dump_json(extra.get("invocation_params")),
        "gen_ai.usage.input_tokens": first_of(record, "prompt_tokens", "input_tokens"),
        "gen_ai.usage.output_tokens": first_of(record, "completion_tokens", "output_tokens"),
    }
    yield make_record(
        where,
        trace=first_of(record, "trace_id", "id"),
        span=record["id"],
        parent=record.get("parent_run_id"),
        name=record.get("name"),
        start_s=iso_seconds(record.get("start_time")),
        end_s=iso_seconds(record.get("end_time")),
        attributes={name: value for name, value in attributes.items() if value is not None},
        error=record.get("error") or None,
        scope="langsmith",
    )
