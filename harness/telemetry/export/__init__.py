"""OpenTelemetry export: a run folder's traces.jsonl, logs.jsonl and metrics.jsonl in OTLP/JSON.

A line of traces.jsonl is a `TracesData` with all spans of a case, the last one that of the run and
its suites; a line of logs.jsonl is a `LogsData` with the case's evaluation results; metrics.jsonl
is one `MetricsData`. They are made from the stored records, a case at a time. Spans and log records
of many answers are compressed to a fifteenth: `traces.jsonl.gz` and `logs.jsonl.gz`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tunegate.harness.records.files import open_atomic, write_atomic

if TYPE_CHECKING:
    from tunegate.harness.telemetry.export.content import ContentCapture
    from tunegate.harness.telemetry.export.otlp_json import OtlpEnvelope
    from tunegate.harness.telemetry.export.run_records import RunRecords
    from tunegate.harness.telemetry.export.spans import SpanBuilder

TRACES, LOGS, METRICS = "traces.jsonl", "logs.jsonl", "metrics.jsonl"
PACKED = ".gz"
FILE_NAMES = (TRACES, LOGS, METRICS)
PACKED_NAMES = (TRACES + PACKED, LOGS + PACKED)


def find_file(folder: Path, name: str) -> Path | None:
    """Return a file of a run's telemetry, compressed or not; None if the run has none."""
    found = (folder / name, folder / f"{name}{PACKED}")
    return next((path for path in found if path.is_file()), None)


def write_traces(
    folder: Path, run: RunRecords, content: ContentCapture | None = None
) -> Path | None:
    """Write a run's three files; return the file of spans, or None with OTEL_SDK_DISABLED.

    Args:
        folder: The run folder.
        run: What the run recorded.
        content: How prompts and answers are written; None leaves them out.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    from tunegate.harness.telemetry.export import otlp_json, resources
    from tunegate.harness.telemetry.export.spans import SpanBuilder

    spans = SpanBuilder(run, content)
    version = run.manifest.versions.get("tunegate", "")
    envelope = otlp_json.OtlpEnvelope(
        otlp_json.attributes_json(resources.resource_attributes(version)), version
    )
    packed = PACKED if run.manifest.packed else ""
    with open_atomic(folder / f"{LOGS}{packed}") as logs:
        write_atomic(folder / f"{TRACES}{packed}", _lines(spans, envelope, logs))
    start, end = spans.extent
    write_atomic(folder / METRICS, envelope.line("metrics", spans.totals.metrics(start, end)))
    return folder / f"{TRACES}{packed}"


def _lines(spans: SpanBuilder, envelope: OtlpEnvelope, logs: TextIO) -> Iterator[str]:
    """Yield the lines of spans, and write those of log records next to them."""
    for signals in spans.cases():
        yield envelope.line("spans", signals.spans)
        if signals.logs:
            logs.write(envelope.line("logRecords", signals.logs))
    yield envelope.line("spans", spans.closing())
