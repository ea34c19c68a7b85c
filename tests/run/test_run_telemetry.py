"""Telemetry of a whole gate run: files that tools read, redacted content, and a dead collector."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format


def _spans(folder: Path) -> list[dict[str, Any]]:
    """Return the spans of a run, after protobuf has read every line."""
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    found = []
    for line in (folder / "traces.jsonl").read_text(encoding="utf-8").splitlines():
        json_format.Parse(line, TracesData(), ignore_unknown_fields=False)
        found += json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    return found


def _value(span: dict[str, Any], name: str) -> Any:
    found = (next(iter(a["value"].values())) for a in span["attributes"] if a["key"] == name)
    return next(found, None)


def test_every_stored_case_is_traced(project: Any) -> None:
    project.suite()
    project.gate(*project.models(), "--gate-early-stop=off")

    spans = _spans(project.run)
    cells = (project.run / "cells.jsonl").read_text(encoding="utf-8").splitlines()
    keys = {json.loads(line)["cell"]["key"] for line in cells}
    cases = {s["spanId"]: _value(s, "test.case.name") for s in spans if s["name"] == "eval case"}
    assert len(cases) == len(set(cases.values())) == 100
    generated = [s for s in spans if _value(s, "tunegate.cell.kind") == "generate"]
    assert {_value(s, "tunegate.store.key") for s in generated} == keys
    for case in cases:
        assert sum(s["parentSpanId"] == case for s in generated) == 2
    assert sum(s["name"] == "eval check exact_match" for s in spans) == 200
    logs = (project.run / "logs.jsonl").read_text(encoding="utf-8")
    assert logs.count('"gen_ai.evaluation.result"') == 200


def test_cases_that_were_not_asked_are_counted(project: Any) -> None:
    """Those skipped because all was decided have no spans, and are not forgotten."""
    project.suite(n=300)
    base, tuned = project.model("base", 10, n=300), project.model("tuned", 299, n=300)
    project.gate(f"--gate-base={base}", f"--gate-tuned={tuned}")
    (line,) = (project.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = json.loads(line)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    (cases,) = (m for m in found if m["name"] == "tunegate.cases")
    points = {
        _value(p, "tunegate.case.status"): int(p["asInt"]) for p in cases["sum"]["dataPoints"]
    }
    asked = sum(s["name"] == "eval case" for s in _spans(project.run))
    assert asked < 300
    assert points["skipped"] == 300 - asked
    assert sum(points.values()) == 300


def test_content_is_redacted_by_default(project: Any) -> None:
    """An address in a prompt is not in the traces; with none it is, and the messages are exact."""
    cases = [{"id": "a", "prompt": "Mail jo@example.org", "expected": "yes"}]
    project.raw_suite(
        'name = "demo"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
        '[generation]\nsystem = "Be kind."\n[[gates]]\nmetric = "exact_match"\nfloor = 0.1\n',
        cases,
    )
    models = (project.model("base", 0), project.model("tuned", 1))
    options = (f"--gate-base={models[0]}", f"--gate-tuned={models[1]}", "--gate-trace-content")

    project.gate(*options)
    assert "jo@example.org" not in (project.run / "traces.jsonl").read_text(encoding="utf-8")

    project.gate(*options, "--gate-trace-redact=none")
    (said, _) = (m for s in _spans(project.run) if (m := _value(s, "gen_ai.input.messages")))
    assert json.loads(said) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Mail jo@example.org"}]},
    ]


def test_an_unknown_redaction_is_refused(project: Any) -> None:
    project.suite()
    result = project.gate(*project.models(), "--gate-trace-redact=everything")
    assert result.ret == 4
    assert "redaction 'everything' must be pii, none or a function" in (
        result.stdout.str() + result.stderr.str()
    )


def test_the_page_names_the_spans_of_the_file_and_links_to_the_viewer(project: Any) -> None:
    """The page computes the ids; the trace file has the same ones."""
    project.suite()
    link = "http://localhost:16686/trace/{trace_id}?uiFind={span_id}"
    project.gate(*project.models(), f"--gate-trace-link={link}")

    page = (project.run / "report.html").read_text(encoding="utf-8")
    spans = [s for s in _spans(project.run) if s["name"] == "eval case"]

    assert f'"trace":{{"id":"{spans[0]["traceId"]}","link":"{link}"}}' in page
    assert [s["spanId"] for s in spans if f'"span":"{s["spanId"]}"' not in page] == []


def test_a_link_that_leads_nowhere_is_refused(project: Any) -> None:
    project.suite()
    result = project.gate(*project.models(), "--gate-trace-link=localhost:16686")
    assert result.ret == 4
    said = result.stdout.str() + result.stderr.str()
    assert "--gate-trace-link='localhost:16686': begin it with http:// or https://" in said


def test_a_dead_collector_changes_nothing(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line; verdict and exit code are those of a run that nobody watches."""
    project.suite()
    models = project.models()
    expected = project.gate(*models).ret
    verdict = (project.run / "verdict.json").read_bytes()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")

    result = project.gate(*models)

    assert result.ret == expected
    assert (project.run / "verdict.json").read_bytes() == verdict
    said = [line for line in result.stderr.lines if "telemetry" in line]
    assert len(said) == 1
    assert f"http://127.0.0.1:{port}" in said[0]
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
