"""Files as trace stores export them: the calls are those of the same spans as OTLP.

Console, Zipkin, Phoenix and LangSmith wrote theirs (`tools/recordings/record_stores.py`);
Jaeger's, Tempo's, Langfuse's and OpenAI's are made here by the published schemas.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.telemetry.read.trace_recordings import RECORDED, reply
from tests.telemetry.read.wire_requests import asked, comparable
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite.sources.traces import TraceSelection, collect_cases
from tunegate.harness.telemetry.read import read_spans
from tunegate.harness.telemetry.read.model_calls import find_model_calls
from tunegate.harness.telemetry.read.trace_types import ImportReport, ModelCall

STORES = RECORDED / "stores"
WIRE = RECORDED / "openai-openinference-openai"
WRITTEN = (
    "console.json",
    "zipkin.json",
    "phoenix.json",
    "phoenix-otlp.json",
    "phoenix-frame.jsonl",
)


def calls_in(path: Path) -> list[ModelCall]:
    """Return the calls of a file by their start."""
    reading = ImportReport()
    found = find_model_calls(read_spans([path], reading), reading.leave_out, reading.repair)
    return sorted(found, key=lambda call: call.span.start_s)


def told(call: ModelCall) -> dict[str, Any]:
    """Return what a call says."""
    names = (
        "messages", "tools", "parameters", "answer", "answer_calls", "finish_reason", "model",
        "input_tokens", "output_tokens", "unreplayable",
    )  # fmt: skip
    return {name: getattr(call, name) for name in names} | {"trace": call.span.trace_id}


def resource_spans() -> list[dict[str, Any]]:
    """Return the recorded resourceSpans."""
    lines = (WIRE / "traces.jsonl").read_text(encoding="utf-8").splitlines()
    return [block for line in map(json.loads, lines) for block in line["resourceSpans"]]


def spans() -> Iterator[dict[str, Any]]:
    """Yield the recorded spans."""
    for block in resource_spans():
        for scope in block["scopeSpans"]:
            yield from scope["spans"]


@pytest.mark.parametrize("name", WRITTEN)
def test_an_export_of_a_store_has_the_calls_of_its_spans(name: str) -> None:
    wanted = [told(call) for call in calls_in(WIRE / "traces.jsonl")]

    assert len(wanted) == 8
    assert [told(call) for call in calls_in(STORES / name)] == wanted


def array() -> Any:
    """Return the blocks without their envelope."""
    return resource_spans()


def tempo() -> Any:
    """Return Tempo's `/api/traces/ID`: batches, with ids in base64."""
    blocks = json.loads(json.dumps(resource_spans()))
    for span in (s for b in blocks for o in b["scopeSpans"] for s in o["spans"]):
        for key in {"traceId", "spanId", "parentSpanId"} & span.keys():
            span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    return {"batches": blocks}


def tempo_2() -> Any:
    """Return Tempo's `/api/v2/traces/ID`."""
    return {"trace": {"resourceSpans": resource_spans()}, "metrics": {"inspectedBytes": "9"}}


KINDS = {
    "stringValue": "string",
    "intValue": "int64",
    "doubleValue": "float64",
    "boolValue": "bool",
}


def jaeger() -> Any:
    """Return Jaeger's `/api/traces`: typed tags, microseconds, processes."""
    traces: dict[str, list[dict[str, Any]]] = {}
    for span in spans():
        tags = []
        for pair in span.get("attributes", ()):
            ((kind, value),) = pair["value"].items()
            value = int(value) if kind == "intValue" else value
            tags.append({"key": pair["key"], "type": KINDS[kind], "value": value})
        start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        parent = span.get("parentSpanId")
        reference = {"refType": "CHILD_OF", "traceID": span["traceId"], "spanID": parent}
        traces.setdefault(span["traceId"], []).append(
            {
                "traceID": span["traceId"], "spanID": span["spanId"], "processID": "p1",
                "operationName": span["name"], "startTime": start // 1000,
                "duration": (end - start) // 1000, "tags": tags, "logs": [],
                "references": [reference] if parent else [],
            }
        )  # fmt: skip
    process = {"p1": {"serviceName": "client", "tags": []}}
    data = [{"traceID": t, "spans": s, "processes": process} for t, s in traces.items()]
    return {"data": data, "total": 0, "limit": 0, "offset": 0, "errors": None}


@pytest.mark.parametrize("make", [array, tempo, tempo_2, jaeger])
@pytest.mark.parametrize("form", ["line", "pretty", "packed"])
def test_a_form_by_its_schema_has_the_calls_of_its_spans(
    make: Callable[[], Any], form: str, tmp_path: Path
) -> None:
    path = tmp_path / ("export.json.gz" if form == "packed" else "export.json")
    text = json.dumps(make(), indent=2 if form == "pretty" else None)
    path.write_bytes(gzip.compress(text.encode()) if form == "packed" else text.encode())

    found = calls_in(path)

    assert [told(c) for c in found] == [told(c) for c in calls_in(WIRE / "traces.jsonl")]
    assert {call.span.resource.get("service.name") for call in found} == {"client"}


def test_runs_of_langsmith_have_what_was_sent() -> None:
    """Its client was given the requests of the wire; the one that was refused has failed."""
    found = calls_in(STORES / "langsmith.jsonl")
    answered = [call for call in found if call.span.error is None]
    sent = asked(STORES)

    assert (len(found), len(answered)) == (11, len(sent))
    for call, was in zip(answered, sent, strict=True):
        assert comparable(call.messages) == comparable(was.messages)
        assert list(call.tools) == list(was.tools)
        assert call.parameters == was.parameters
        assert call.finish_reason == ("tool_calls" if call.answer_calls else "stop")


def bodies() -> list[dict[str, Any]]:
    """Return the requests of the wire."""
    lines = (STORES / "asked.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def observations(*, snake: bool) -> list[dict[str, Any]]:
    """Return Langfuse's generations of the requests, in the names of its API or blob storage."""
    rows = []
    for number, body in enumerate(bodies(), 1):
        rest = {k: v for k, v in body.items() if k not in ("model", "messages", "tools", "stream")}
        form = rest.pop("response_format", None)
        given = {"messages": body["messages"], "tools": body.get("tools")}
        answered = reply("base", "/v1/chat/completions", body)["choices"][0]["message"]
        row = {
            "id": f"obs-{number}", "traceId": f"{number:032x}", "type": "GENERATION",
            "name": "chat", "startTime": f"2026-11-28T07:00:{number:02d}.000Z",
            "endTime": f"2026-11-28T07:00:{number:02d}.500Z", "level": "DEFAULT",
            "model": body["model"], "modelParameters": rest, "output": answered,
            "input": given if body.get("tools") else body["messages"],
            "metadata": {"response_format": form} if form else {}, "sessionId": "s-1",
            "usageDetails": {"input": 11, "output": 9, "total": 20},
        }  # fmt: skip
        names = {"traceId": "trace_id", "startTime": "start_time", "endTime": "end_time",
                 "model": "provided_model_name", "modelParameters": "model_parameters",
                 "usageDetails": "usage_details", "sessionId": "session_id"}  # fmt: skip
        rows.append({names.get(k, k): v for k, v in row.items()} if snake else row)
    return rows


@pytest.mark.parametrize("form", ["api", "trace", "rows", "blob"])
def test_observations_of_langfuse_have_what_was_sent(form: str, tmp_path: Path) -> None:
    rows = observations(snake=form == "blob")
    whole: dict[str, Any] = {
        "api": {"data": rows, "meta": {"page": 1}},
        "trace": {"id": "t", "sessionId": "s-1", "observations": rows},
        "rows": rows,
    }
    path = tmp_path / ("export.jsonl" if form == "blob" else "export.json")
    lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) if form == "blob" else json.dumps(whole[form], indent=1))

    found = calls_in(path)

    for call, was in zip(found, asked(STORES), strict=True):
        assert comparable(call.messages) == comparable(was.messages)
        assert list(call.tools) == list(was.tools)
        settings = {k: v for k, v in was.parameters.items() if k != "tool_choice"}
        assert {k: v for k, v in call.parameters.items() if k != "tool_choice"} == settings
        assert (call.model, call.input_tokens, call.output_tokens) == ("base", 11, 9)
        assert call.conversation == "s-1"


def test_stored_completions_of_openai_are_read_with_their_messages(tmp_path: Path) -> None:
    """The list lacks the messages, which is said; an object that was given them is a call."""
    whole = []
    for number, body in enumerate(bodies()):
        stored = reply("base", "/v1/chat/completions", body) | {"id": f"chatcmpl-{number}"}
        stored |= {k: v for k, v in body.items() if k not in ("messages", "stream")}
        stored["metadata"] = {"session_id": "s-1"}
        whole.append(stored | {"created": 1_764_000_000 + number})
    page = {"object": "list", "data": whole, "has_more": False}
    (tmp_path / "list.json").write_text(json.dumps(page), encoding="utf-8")
    full = [
        stored | {"messages": {"object": "list", "data": body["messages"]}}
        for stored, body in zip(whole, bodies(), strict=True)
    ]
    lines = "".join(f"{json.dumps(one)}\n" for one in full)
    (tmp_path / "full.jsonl").write_text(lines, encoding="utf-8")

    reading = ImportReport()
    assert not [*read_spans([tmp_path / "list.json"], reading)]
    ((reason, noted),) = reading.left_out.items()
    assert ("messages" in reason, noted.count) == (True, 10)
    found = calls_in(tmp_path / "full.jsonl")
    for call, was in zip(found, asked(STORES), strict=True):
        assert comparable(call.messages) == comparable(was.messages)
        assert list(call.tools) == list(was.tools)
        assert call.parameters == was.parameters
        assert (call.provider, call.conversation) == ("openai", "s-1")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"resourceMetrics": [], "foo": 1}\n', ("resourceMetrics, foo", "Jaeger", "Langfuse")),
        ('[{"prompt": "x", "completion": "y"}]', ("prompt, completion", "Zipkin", "LangSmith")),
        ('{"data": [{"a": 1}]}', ("at its top a", "Phoenix", "OpenAI")),
        ("timestamp,name,input\n1,2,3\n", ("neither JSON", "Langfuse")),
        ("PAR1xxxxPAR1", ("Parquet", "damaged")),
    ],
)
def test_an_unknown_form_says_what_is_there_and_what_would_be_read(
    text: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "export.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SuiteError) as refused:
        collect_cases([path], TraceSelection())

    (line,) = str(refused.value).splitlines()
    for name in names:
        assert name in line
