"""traces.jsonl: every completion of a run as an OTLP/JSON span, one TracesData a line.

The spans are made from the stored cells, so a resumed or fully cached run has them all; the store
is the record, the span carries hashes and the key. Prompts and answers are left out unless asked.
"""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.manifest import Manifest
from harness.model import Prompt
from harness.records import StoredCell, sha256
from harness.run import write_atomic
from harness.tracing import attributes as a
from harness.verdict.record import VerdictRecord

FILE_NAME = "traces.jsonl"
_MICRO = 1_000_000
_OPERATIONS = {
    "generate": "chat",
    "latency": "chat",
    "choices": "text_completion",
    "answer": "text_completion",
    "text": "text_completion",
}


def write_traces(
    folder: Path,
    manifest: Manifest,
    cells: Iterable[StoredCell],
    prompts: Mapping[tuple[str, str, str], Prompt],
    verdict: VerdictRecord,
    *,
    content: bool,
) -> Path | None:
    """Write the run's spans to `traces.jsonl`: a root, a span per case, and in it one per cell.

    Where OpenTelemetry is not installed, or with OTEL_SDK_DISABLED, there is no file and None
    is returned: the store is the record, and a verdict must not fail for want of spans.

    Args:
        folder: The run folder.
        manifest: The run.
        cells: Its cells, those of a case together; they are gone through several times.
        prompts: (suite, case, arm) → rendered prompt.
        verdict: The decision, for the root span.
        content: Whether prompts and answers go into the spans.
    """
    try:
        from opentelemetry.exporter.otlp.json.file import FileSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    except ImportError:
        return None

    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / FILE_NAME
        exporter = FileSpanExporter(path)
        provider = TracerProvider(
            resource=Resource({"service.name": "tunegate"}),
            sampler=ALWAYS_ON,
            span_limits=SpanLimits(
                max_span_attributes=SpanLimits.UNSET, max_span_attribute_length=SpanLimits.UNSET
            ),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("tunegate", manifest.versions.get("tunegate"))
        _spans(tracer, manifest, cells, prompts, verdict, content=content)
        provider.shutdown()
        if not path.stat().st_size:  # OTEL_SDK_DISABLED: whoever runs this wants no spans
            return None
        with path.open(encoding="utf-8", newline="") as lines:
            write_atomic(folder / FILE_NAME, lines)
    return folder / FILE_NAME


def _spans(
    tracer: Any,
    manifest: Manifest,
    cells: Iterable[StoredCell],
    prompts: Mapping[tuple[str, str, str], Prompt],
    verdict: VerdictRecord,
    *,
    content: bool,
) -> None:
    from opentelemetry import trace

    begun = _begun(manifest, cells)
    root = tracer.start_span("eval run", start_time=_nano(begun))
    root.set_attributes({a.RUN_ID: manifest.run_id, a.VERDICT: verdict.verdict.value})
    context = trace.set_span_in_context(root)
    last = max((_end(c, begun) for c in cells), default=_nano(begun))
    for (suite, case), found in groupby(cells, key=lambda c: (c.cell.suite, c.cell.case)):
        group = tuple(found)
        span = tracer.start_span(
            "eval case",
            context=context,
            start_time=_nano(min(c.started_s or begun for c in group)),
            attributes={a.SUITE_NAME: suite, a.CASE_NAME: case, a.RUN_ID: manifest.run_id},
        )
        inner = trace.set_span_in_context(span, context)
        for stored in group:
            prompt = prompts.get((suite, case, stored.cell.arm))
            values = _attributes(manifest, stored) | _prompt(prompt)
            if content:
                values |= _content(stored, prompt)
            known = {k: v for k, v in values.items() if v is not None}
            _completion_span(tracer, inner, manifest, stored, known, begun)
        span.end(end_time=max(_end(c, begun) for c in group))
    root.end(end_time=last)


def _completion_span(
    tracer: Any,
    context: Any,
    manifest: Manifest,
    stored: StoredCell,
    values: Mapping[str, Any],
    begun: float,
) -> None:
    """Add one span; the process's own model is INTERNAL, as the conventions allow."""
    from opentelemetry.trace import SpanKind, StatusCode

    spec = manifest.identity(stored.cell.arm)["spec"]
    span = tracer.start_span(
        f"{values[a.OPERATION]} {spec}",
        context=context,
        kind=SpanKind.INTERNAL,
        start_time=_nano(stored.started_s or begun),
        attributes=values,
    )
    if stored.status != "ok":
        span.set_status(StatusCode.ERROR, stored.error)
    span.end(end_time=_end(stored, begun))


def _prompt(prompt: Prompt | None) -> dict[str, Any]:
    return {a.PROMPT_SHA256: prompt.sha256 if prompt else None}


def _content(stored: StoredCell, prompt: Prompt | None) -> dict[str, Any]:
    """Return prompt and answer in the form of the conventions."""
    text = stored.completion.text if stored.completion else None
    return {
        a.INPUT_MESSAGES: _message("user", prompt.text) if prompt else None,
        a.OUTPUT_MESSAGES: _message("assistant", text) if text is not None else None,
    }


def _attributes(manifest: Manifest, stored: StoredCell) -> dict[str, Any]:
    cell, done = stored.cell, stored.completion
    identity = manifest.identity(cell.arm)
    settings = next(s.generation for s in manifest.suites if s.name == cell.suite)
    local = identity.get("backend") == "hf"
    generated = done is not None and done.text is not None
    return {
        a.OPERATION: _OPERATIONS[cell.kind.value],
        a.PROVIDER: "huggingface.transformers" if local else identity.get("backend"),
        a.REQUEST_MODEL: identity["spec"],
        a.RESPONSE_MODEL: identity["spec"],
        a.REQUEST_MAX_TOKENS: settings["max_new_tokens"] if generated else None,
        a.REQUEST_TEMPERATURE: settings["temperature"] if generated else None,
        a.REQUEST_TOP_P: settings["top_p"] if generated else None,
        a.FINISH_REASONS: [done.finish_reason] if done and done.finish_reason else None,
        a.INPUT_TOKENS: done.input_tokens if done else None,
        a.OUTPUT_TOKENS: done.output_tokens if done else None,
        a.OUTPUT_SHA256: sha256(done.text) if done and done.text is not None else None,
        a.ERROR_TYPE: "unscored" if stored.status != "ok" else None,
        a.RUN_ID: manifest.run_id,
        a.ARM: cell.arm,
        a.CELL_KIND: cell.kind.value,
        a.SAMPLE_INDEX: cell.sample,
        a.STORE_KEY: cell.key,
        a.CACHE_HIT: stored.cache_hit,
        a.WEIGHTS_SHA256: identity.get("weights_sha256"),
        a.ADAPTER_SHA256: identity.get("adapter_sha256"),
        a.TEMPLATE_SHA256: identity.get("template_sha256"),
        a.DTYPE: identity.get("dtype"),
        a.ENGINE: identity.get("engine"),
    }


def _message(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def _nano(seconds: float) -> int:
    return round(seconds * _MICRO) * 1000  # a float holds no more of a Unix time


def _begun(manifest: Manifest, cells: Iterable[StoredCell]) -> float:
    """Return when the first cell was begun: where recorded cells have no time, the run itself."""
    starts = (c.started_s for c in cells if c.started_s)
    return min(starts, default=datetime.datetime.fromisoformat(manifest.created).timestamp())


def _end(stored: StoredCell, begun: float) -> int:
    latency = stored.completion.latency_s if stored.completion else None
    return _nano((stored.started_s or begun) + (latency or 0.0))
