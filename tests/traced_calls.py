"""A suite, the run that shipped on it, and production's calls, for the tests of watching."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.suite import Suite, load_suite
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

GOOD = '{"ok": true}'
BAD = '{"ok": tru'
START = 1_780_000_000.0
WEEK = 604_800.0

SUITE = """
name = "tickets"
cases = "cases.jsonl"
[generation]
max_new_tokens = 20
[[metrics]]
use = "json_valid"
[[metrics]]
use = "exact_match"
[[gates]]
metric = "json_valid"
floor = 0.5
"""


def shipped(
    folder: Path,
    answers: Sequence[str],
    *,
    toml: str = SUITE,
    cluster: int = 1,
    scores: Sequence[ScoreRow] = (),
    cases: Sequence[Case] = (),
    **completion: Any,
) -> tuple[Run, Suite]:
    """Return a run whose tuned arm gave these answers, and its suite.

    Args:
        folder: Where the suite is written.
        answers: One a case.
        toml: Text of suite.toml.
        cluster: Neighbouring cases that belong together; 1 for none.
        scores: Scores of the run, for metrics that ask a judge.
        cases: The cases; made up where none are given.
        **completion: Fields of every completion; a function is called with the case's number.
    """
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(toml, encoding="utf-8")
    rows = [case.model_dump(mode="json", exclude_none=True) for case in cases] or [
        {"id": f"c{n}", "prompt": f"ticket {n:04d}", "expected": GOOD}
        | ({"cluster": str(n // cluster)} if cluster > 1 else {})
        for n in range(len(answers))
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "cases.jsonl").write_text(lines, encoding="utf-8")
    suite = load_suite(folder)
    record = suite.record()
    settings = {"finish_reason": "stop", "output_tokens": 4, "batch_size": 1, "latency_s": 0.5}
    cells = [_cell(number, text, {**settings, **completion}) for number, text in enumerate(answers)]
    manifest = Manifest(
        run_id="r1",
        created="2026-01-01T00:00:00+00:00",
        command=(),
        arms={"base": {"spec": "b"}, "tuned": {"spec": "t"}},
        suites=(record,),
        plan=tuple(stored.cell for stored in cells),
        seed=0,
        versions={},
        comparability={},
        liveness={},
        attempts={},
    )
    kept = {
        (suite.name, case.id): RunCase(suite=suite.name, case=case, where=case.where)
        for case in suite.cases
    }
    nobody: Any = None  # no verdict is asked for here
    return Run(folder, manifest, kept, cells, tuple(scores), nobody), suite


def _cell(number: int, text: str, settings: Mapping[str, Any]) -> StoredAnswer:
    cell = Cell(suite="tickets", case=f"c{number}", arm="tuned", kind=CellKind.GENERATE, key="k")
    values = {name: v(number) if callable(v) else v for name, v in settings.items()}
    return StoredAnswer(cell=cell, status="ok", completion=Completion(text=text, **values))


def call(number: int, *, answer: str | None = GOOD, **more: Any) -> ModelCall:
    """Return a call of production; each number has a trace of its own, a minute after the last."""
    name = hashlib.sha256(str(number).encode()).hexdigest()
    start = more.pop("start", START + 60.0 * number)
    span = Span(
        trace_id=more.pop("trace", name[:32]),
        span_id=name[32:48],
        parent_id=None,
        name="chat",
        start_s=start,
        end_s=start + more.pop("seconds", 0.5),
        attributes=more.pop("attributes", {}),
        where=f"traces.jsonl:{number}",
        error=more.pop("error", None),
    )
    settings: dict[str, Any] = {
        "finish_reason": "stop",
        "model": "shop-7",
        "input_tokens": 10,
        "output_tokens": 4,
    }
    messages = more.pop("messages", ({"role": "user", "content": f"ticket {number:04d}"},))
    return ModelCall(span, "genai", messages, answer=answer, **{**settings, **more})


def stream(
    first: int, count: int, *, bad_every: int | None = None, **more: Any
) -> Iterator[ModelCall]:
    """Yield calls; one in `bad_every` breaks the schema."""
    for number in range(first, first + count):
        bad = bad_every is not None and number % bad_every == 0
        yield call(number, answer=BAD if bad else GOOD, **more)


def write_traces(path: Path, calls: Iterable[ModelCall]) -> Path:
    """Write calls as a collector's file exporter does: OTLP/JSON, a span a line, GenAI names."""
    lines = [json.dumps({"resourceSpans": [_resource(one)]}) for one in calls]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def _resource(one: ModelCall) -> dict[str, Any]:
    said = [{"role": m["role"], "parts": [_part(m["content"])]} for m in one.messages]
    answer = {"role": "assistant", "parts": [_part(one.answer)], "finish_reason": "stop"}
    values = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": one.model,
        "gen_ai.input.messages": json.dumps(said),
        "gen_ai.output.messages": json.dumps([answer]),
    }
    counts = {
        "gen_ai.usage.input_tokens": one.input_tokens,
        "gen_ai.usage.output_tokens": one.output_tokens,
    }
    reasons = {"arrayValue": {"values": [{"stringValue": one.finish_reason}]}}
    span = {
        "traceId": one.span.trace_id,
        "spanId": one.span.span_id,
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(round(one.span.start_s * 1e9)),
        "endTimeUnixNano": str(round(one.span.end_s * 1e9)),
        "attributes": [
            *({"key": k, "value": {"stringValue": v}} for k, v in values.items()),
            *({"key": k, "value": {"intValue": str(v)}} for k, v in counts.items()),
            *({"key": k, "value": {"stringValue": v}} for k, v in one.span.attributes.items()),
            {"key": "gen_ai.response.finish_reasons", "value": reasons},
        ],
        "status": {},
    }
    return {
        "resource": {"attributes": []},
        "scopeSpans": [{"scope": {"name": "t"}, "spans": [span]}],
    }


def _part(text: Any) -> dict[str, Any]:
    return {"type": "text", "content": text}
