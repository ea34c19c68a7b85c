"""A trace as OTLP/JSON writes it, and reading files of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.telemetry.read import read_spans
from tunegate.harness.telemetry.read.trace_types import ImportReport, Span

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(name="otlp_span")
def _otlp_span() -> Callable[..., dict[str, Any]]:
    """Return a maker of spans, whose fields are those given and a usual rest."""

    def make(**fields: Any) -> dict[str, Any]:
        usual = {
            "traceId": TRACE,
            "spanId": SPAN,
            "name": "chat shop-1",
            "startTimeUnixNano": "1764000000000000000",
            "endTimeUnixNano": "1764000001500000000",
        }
        return {name: value for name, value in (usual | fields).items() if value is not None}

    return make


@pytest.fixture(name="otlp")
def _otlp() -> Callable[..., dict[str, Any]]:
    """Return a maker of TracesData that hold the given spans."""

    def make(*spans: Any, signal: str = "Spans", records: str = "spans") -> dict[str, Any]:
        service = {"key": "service.name", "value": {"stringValue": "shop"}}
        return {
            f"resource{signal}": [
                {
                    "resource": {"attributes": [service]},
                    f"scope{signal}": [{"scope": {"name": "our.library"}, records: list(spans)}],
                }
            ]
        }

    return make


@pytest.fixture(name="logs")
def _logs(otlp: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return a maker of LogsData that hold the given records."""
    return lambda *records: otlp(*records, signal="Logs", records="logRecords")


@pytest.fixture(name="reading_of")
def _reading_of() -> Callable[..., tuple[list[Span], ImportReport]]:
    """Return what reads files: their spans, and the account of it."""

    def read_all(*paths: Path | str) -> tuple[list[Span], ImportReport]:
        reading = ImportReport()
        return list(read_spans(paths, reading)), reading

    return read_all


@pytest.fixture(name="written")
def _written(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes values as JSON lines into a file of the given name."""

    def write(name: str, *values: Any) -> Path:
        path = tmp_path / name
        lines = (value if isinstance(value, str) else json.dumps(value) for value in values)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write
