"""Records what trace stores make of recorded spans, and LangSmith's runs, into
`tests/telemetry/read/recorded/stores/`.

    PYTHON tools/recordings/record_stores.py console|zipkin
    PYTHON tools/recordings/record_stores.py phoenix URL
    PYTHON tools/recordings/record_stores.py langsmith URL

PYTHON is that of an environment with `../frameworks/requirements.txt` from there; for `phoenix`
also with arize-phoenix-client, and URL is that of a running `phoenix serve`. The spans are those of
`../openai-openinference-openai`, exported by the SDK's own exporters. `langsmith` asks an
OpenAI-compatible server through LangSmith's wrapper and keeps the runs that its client is given.
It imports nothing of ours.
"""

from __future__ import annotations

import base64
import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[2] / "tests/telemetry/read/recorded"
SPANS = RECORDED / "openai-openinference-openai" / "traces.jsonl"
STORES = RECORDED / "stores"


def readable_spans() -> list[Any]:
    """Return the recorded spans as the SDK's own."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

    found = []
    for scope, span in recorded_spans():
        context, parent = (
            SpanContext(int(span["traceId"], 16), int(one, 16), False, TraceFlags(1))
            if (one := span.get(name))
            else None
            for name in ("spanId", "parentSpanId")
        )
        found.append(
            ReadableSpan(
                name=span["name"], context=context, parent=parent,
                resource=Resource({"service.name": "client"}),
                attributes={p["key"]: plain(p["value"]) for p in span.get("attributes", ())},
                start_time=int(span["startTimeUnixNano"]), end_time=int(span["endTimeUnixNano"]),
                status=Status(StatusCode(span.get("status", {}).get("code", 0))),
                instrumentation_scope=InstrumentationScope(scope),
            )
        )  # fmt: skip
    return found


def recorded_spans() -> list[tuple[str, dict[str, Any]]]:
    """Return the spans of the recording, each with the name of its scope."""
    lines = map(json.loads, SPANS.read_text(encoding="utf-8").splitlines())
    blocks = [block for line in lines for block in line["resourceSpans"]]
    scopes = [scope for block in blocks for scope in block["scopeSpans"]]
    return [(scope["scope"]["name"], span) for scope in scopes for span in scope["spans"]]


def plain(value: dict[str, Any]) -> Any:
    """Return a value of OTLP as plain Python."""
    ((kind, held),) = value.items()
    return int(held) if kind == "intValue" else held


def console() -> None:
    """Write what the SDK's console exporter prints."""
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    with (STORES / "console.json").open("w", encoding="utf-8") as file:
        ConsoleSpanExporter(out=file).export(readable_spans())


def zipkin() -> None:
    """Write what the Zipkin exporter sends."""
    from opentelemetry.exporter.zipkin.json import ZipkinExporter

    exporter = ZipkinExporter()
    body = exporter.encoder.serialize(readable_spans(), exporter.local_node)
    (STORES / "zipkin.json").write_text(body, encoding="utf-8")


def phoenix(url: str) -> None:
    """Send the spans to Phoenix, and write what its API and its client give back."""
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from phoenix.client import Client

    for line in map(json.loads, SPANS.read_text(encoding="utf-8").splitlines()):
        for span in (s for r in line["resourceSpans"] for o in r["scopeSpans"] for s in o["spans"]):
            for name in {"traceId", "spanId", "parentSpanId"} & span.keys():
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
        body = ParseDict(line, ExportTraceServiceRequest(), ignore_unknown_fields=True)
        headers = {"Content-Type": "application/x-protobuf"}
        sent = urllib.request.Request(f"{url}/v1/traces", body.SerializeToString(), headers)
        urllib.request.urlopen(sent, timeout=20).close()
    time.sleep(5)
    for name, path in (("phoenix", "spans"), ("phoenix-otlp", "spans/otlpv1")):
        address = f"{url}/v1/projects/default/{path}?limit=1000"
        with urllib.request.urlopen(address, timeout=20) as reply:
            (STORES / f"{name}.json").write_bytes(reply.read())
    frame = Client(base_url=url).spans.get_spans_dataframe()
    frame.to_json(STORES / "phoenix-frame.jsonl", orient="records", lines=True, date_format="iso")


def langsmith(url: str) -> None:
    """Write the runs that LangSmith's client is given, and the requests of the wire."""
    from drive_frameworks import chat_scenarios
    from langsmith import Client
    from langsmith.wrappers import wrap_openai
    from openai import OpenAI

    runs: dict[str, dict[str, Any]] = {}

    class KeepingClient(Client):
        """A client that keeps its runs and sends none."""

        def create_run(self, name: str, inputs: Any, run_type: Any, **more: Any) -> None:
            """Keep the beginning of a run."""
            runs[str(more["id"])] = {"name": name, "inputs": inputs, "run_type": run_type, **more}

        def update_run(self, run_id: Any, **more: Any) -> None:
            """Keep its end."""
            runs[str(run_id)] |= {k: v for k, v in more.items() if v is not None}

    client = KeepingClient(api_url="http://127.0.0.1:9", api_key="x", auto_batch_tracing=False)
    asking = OpenAI(base_url=url, api_key="x", max_retries=0)
    wrapped = wrap_openai(asking, tracing_extra={"client": client})
    for ask in chat_scenarios(wrapped.chat.completions.create).values():
        ask()
    time.sleep(1)
    with (STORES / "langsmith.jsonl").open("w", encoding="utf-8") as file:
        for run in runs.values():
            if "error" in run:
                run["error"] = run["error"].partition("\n")[0]
            file.write(json.dumps(run, default=str, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    STORES.mkdir(exist_ok=True)
    {"console": console, "zipkin": zipkin, "phoenix": phoenix, "langsmith": langsmith}[sys.argv[1]](
        *sys.argv[2:]
    )
