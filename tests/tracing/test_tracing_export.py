"""traces.jsonl: OTLP/JSON that other tools read, one span a cell, no content unless asked."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.manifest import Gate, GateKind, Manifest, MetricRecord, SuiteRecord
from harness.model import Prompt
from harness.records import Cell, CellKind, Completion, StoredCell, sha256
from harness.suite import Generation
from harness.tracing.export import write_traces
from harness.verdict.record import Verdict

SECRET_PROMPT = "the customer's secret"
SECRET_ANSWER = "an answer \N{GRINNING FACE} nobody may read"
START = 1_700_000_000.25
METRIC = {"use": "exact_match", "higher_is_better": True, "range": (0.0, 1.0), "binary": True}


def _cell(arm: str, case: str, kind: str, completion: Completion | None, **more: Any) -> StoredCell:
    key = sha256([arm, case, kind])
    return StoredCell(
        cell=Cell(suite="s", case=case, arm=arm, kind=CellKind(kind), key=key),
        status="ok" if completion else more.pop("status", "error"),
        completion=completion,
        **more,
    )


CELLS = (
    _cell(
        "base",
        "c1",
        "generate",
        Completion(
            text=SECRET_ANSWER, finish_reason="stop", input_tokens=7, output_tokens=3, latency_s=0.5
        ),
        started_s=START,
    ),
    _cell(
        "tuned",
        "c1",
        "generate",
        Completion(text="", finish_reason="length", latency_s=1.5),
        started_s=START + 1,
        cache_hit=True,
    ),
    _cell(
        "base",
        "c1",
        "choices",
        Completion(choice_logprobs=(-1.0,), latency_s=0.25),
        started_s=START + 3,
    ),
    _cell("tuned", "c2", "generate", None, error="HTTP 500", started_s=START + 4),
    _cell("base", "c2", "generate", None, status="missing", error="it was never answered"),
)
PROMPTS = {("s", "c1", "base"): Prompt(SECRET_PROMPT, (1, 2)), ("s", "c1", "tuned"): Prompt("x")}


def _manifest() -> Manifest:
    gate = Gate(metric="exact_match", kind=GateKind.FLOOR, margin=0.5)
    metric = MetricRecord(name="exact_match", needs=CellKind.GENERATE, **METRIC)
    suite = SuiteRecord(
        name="s",
        path="s/suite.toml",
        hash="h" * 64,
        n_cases=2,
        goal_rule="primary",
        max_unscored=0.05,
        metrics=(metric,),
        gates=(gate,),
        generation=Generation(max_new_tokens=9, temperature=0.5).model_dump(mode="json"),
    )
    arms = {
        "base": {"spec": "models/base", "backend": "hf", "weights_sha256": "w", "dtype": "float32"},
        "tuned": {"spec": "replay:x", "backend": "replay"},
    }
    return Manifest(
        run_id="run-1",
        created="2026-11-24T00:00:00+00:00",
        command=(),
        arms=arms,
        suites=(suite,),
        plan=tuple(c.cell for c in CELLS),
        seed=0,
        versions={"tunegate": "0.1.0"},
        comparability={},
        liveness={},
        attempts={},
    )


class Decided:
    """Of the verdict only its word is written."""

    verdict = Verdict.SHIP


@pytest.fixture(name="spans")
def _spans(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Write the traces and return their spans as JSON has them."""

    def make(*, content: bool = False, cells: tuple[StoredCell, ...] = CELLS) -> Any:
        verdict: Any = Decided()
        path = write_traces(tmp_path, _manifest(), cells, PROMPTS, verdict, content=content)
        assert path == tmp_path / "traces.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines()
        return [
            span
            for line in lines
            for resource in json.loads(line)["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    return make


def _values(span: dict[str, Any]) -> dict[str, Any]:
    return {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}


def _cells(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [s for s in spans if s["name"] not in ("eval run", "eval case")]


def _by_cell(spans: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {_values(s)["tunegate.store.key"]: s for s in _cells(spans)}


def test_every_line_is_traces_data(spans: Any, tmp_path: Path) -> None:
    """Each line parses as TracesData: by protobuf where it is there, by OpenTelemetry's codec."""
    spans()
    lines = (tmp_path / "traces.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 2 + len(CELLS)
    from opentelemetry.proto_json.trace.v1.trace import TracesData

    for line in lines:
        data = TracesData.from_json(line)
        assert json.loads(data.to_json()) == json.loads(line)
        (service,) = data.resource_spans[0].resource.attributes
        assert (service.key, service.value.string_value) == ("service.name", "tunegate")


def test_every_line_is_traces_data_for_protobuf(spans: Any, tmp_path: Path) -> None:
    """Each line parses as TracesData with no unknown field, by protobuf's own JSON reader."""
    json_format = pytest.importorskip("google.protobuf.json_format")
    trace = pytest.importorskip("opentelemetry.proto.trace.v1.trace_pb2")
    spans()
    for line in (tmp_path / "traces.jsonl").read_text(encoding="utf-8").splitlines():
        parsed = json_format.Parse(line, trace.TracesData(), ignore_unknown_fields=False)
        assert parsed.resource_spans


def test_one_span_a_cell_under_its_case_under_the_run(spans: Any) -> None:
    """The tree is run, case, cell; every cell has one span, in one trace."""
    made = spans()
    (root,) = (s for s in made if s["name"] == "eval run")
    cases = {s["spanId"]: _values(s)["test.case.name"] for s in made if s["name"] == "eval case"}
    assert "parentSpanId" not in root or root["parentSpanId"] == ""
    assert sorted(cases.values()) == ["c1", "c2"]
    assert all(s["parentSpanId"] == root["spanId"] for s in made if s["name"] == "eval case")
    by_cell = _by_cell(made)
    assert sorted(by_cell) == sorted(c.cell.key for c in CELLS)
    assert all(cases[by_cell[c.cell.key]["parentSpanId"]] == c.cell.case for c in CELLS)
    assert {s["traceId"] for s in made} == {root["traceId"]}
    assert _values(root)["tunegate.verdict"] == "SHIP"
    assert _values(root)["tunegate.run.id"] == "run-1"


def test_ids_are_hexadecimal(spans: Any) -> None:
    """Ids are lower-case hex as OTLP/JSON asks, not base64."""
    for span in spans():
        assert re.fullmatch("[0-9a-f]{32}", span["traceId"])
        assert re.fullmatch("[0-9a-f]{16}", span["spanId"])


def test_times(spans: Any) -> None:
    """A span lasts as long as its completion; nothing ends before it begins."""
    made = spans()
    first = _by_cell(made)[CELLS[0].cell.key]
    assert int(first["startTimeUnixNano"]) == 1_700_000_000_250_000_000
    assert int(first["endTimeUnixNano"]) == 1_700_000_000_750_000_000
    assert all(int(s["startTimeUnixNano"]) <= int(s["endTimeUnixNano"]) for s in made)
    (root,) = (s for s in made if s["name"] == "eval run")
    assert int(root["startTimeUnixNano"]) == 1_700_000_000_250_000_000
    assert int(root["endTimeUnixNano"]) == 1_700_000_004_250_000_000


def test_attributes_of_a_completion(spans: Any) -> None:
    """The GenAI attributes and ours, each with the run's value."""
    values = _values(_by_cell(spans())[CELLS[0].cell.key])
    assert values["gen_ai.operation.name"] == "chat"
    assert values["gen_ai.provider.name"] == "huggingface.transformers"
    assert values["gen_ai.request.model"] == "models/base"
    assert int(values["gen_ai.request.max_tokens"]) == 9
    assert values["gen_ai.request.temperature"] == 0.5
    assert int(values["gen_ai.usage.input_tokens"]) == 7
    assert int(values["gen_ai.usage.output_tokens"]) == 3
    assert values["gen_ai.response.finish_reasons"] == {"values": [{"stringValue": "stop"}]}
    assert values["tunegate.arm"] == "base"
    assert values["tunegate.prompt.sha256"] == sha256([1, 2])
    assert values["tunegate.output.sha256"] == sha256(SECRET_ANSWER)
    assert values["tunegate.cache.hit"] is False
    assert values["tunegate.weights.sha256"] == "w"


def test_a_scored_text_is_no_chat(spans: Any) -> None:
    """A log-likelihood has no generation settings and no output."""
    values = _values(_by_cell(spans())[CELLS[2].cell.key])
    assert values["gen_ai.operation.name"] == "text_completion"
    assert not {"gen_ai.request.max_tokens", "tunegate.output.sha256"} & set(values)


def test_failures_are_errors(spans: Any) -> None:
    """A cell without an answer is a span with the status error and its reason."""
    by_cell = _by_cell(spans())
    for stored in CELLS[3:]:
        status = by_cell[stored.cell.key]["status"]
        assert status["code"] in (2, "STATUS_CODE_ERROR")
        assert status["message"] == stored.error
    assert "message" not in by_cell[CELLS[0].cell.key].get("status", {})


def test_no_content_unless_asked(spans: Any, tmp_path: Path) -> None:
    """Prompts and answers are only there with content=True, then in the form of the conventions."""
    spans()
    text = (tmp_path / "traces.jsonl").read_text(encoding="utf-8")
    assert "secret" not in text
    assert "nobody" not in text
    values = _values(_by_cell(spans(content=True))[CELLS[0].cell.key])
    assert json.loads(values["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": SECRET_PROMPT}]}
    ]
    assert json.loads(values["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": SECRET_ANSWER}]}
    ]


def test_a_run_without_cells(spans: Any) -> None:
    """A run that answered nothing has its root span, at the time of its start."""
    (root,) = spans(cells=())
    assert root["name"] == "eval run"
    assert int(root["startTimeUnixNano"]) == 1_795_478_400_000_000_000  # 2026-11-24 UTC


def test_recorded_cells_have_no_time_of_their_own(spans: Any) -> None:
    """Answers that were recorded elsewhere stand at the run's start, not in 1970."""
    cell = replace(CELLS[0], started_s=0.0)
    assert {int(s["startTimeUnixNano"]) for s in spans(cells=(cell,))} == {
        1_795_478_400_000_000_000
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3"),
    ],
)
def test_the_environment_does_not_thin_the_record(
    spans: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Settings for someone else's telemetry do not touch this file."""
    monkeypatch.setenv(name, value)
    made = spans()
    assert len(_cells(made)) == len(CELLS)
    assert _values(_by_cell(made)[CELLS[0].cell.key])["tunegate.output.sha256"] == sha256(
        SECRET_ANSWER
    )


def test_disabled_opentelemetry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED is respected: no spans, no file, no failure."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    verdict: Any = Decided()
    assert write_traces(tmp_path, _manifest(), CELLS, PROMPTS, verdict, content=False) is None
    assert list(tmp_path.iterdir()) == []


def test_without_opentelemetry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed there are no traces, and no failure."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.json.file", None)
    verdict: Any = Decided()
    assert write_traces(tmp_path, _manifest(), CELLS, PROMPTS, verdict, content=False) is None
    assert list(tmp_path.iterdir()) == []
