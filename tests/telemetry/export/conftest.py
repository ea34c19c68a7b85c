"""A small recorded run, and what OTLP files hold, for the tests of traces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.model import Prompt
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.judgements import Judgement, JudgementStatus, JudgeReply
from tunegate.harness.records.manifest import (
    Gate,
    JudgeRecord,
    Manifest,
    MetricRecord,
    SuiteRecord,
)
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.telemetry.export import write_traces
from tunegate.harness.telemetry.export.content import ContentCapture
from tunegate.harness.telemetry.export.run_records import RunRecords

START = 1_700_000_000.25
ARMS = {
    "base": {
        "spec": "models/base",
        "backend": "hf",
        "weights_sha256": "w" * 64,
        "template_sha256": "t" * 64,
        "dtype": "float32",
        "engine": "transformers 5.24",
    },
    "tuned": {"spec": "adapters/x", "backend": "hf", "adapter_sha256": "a" * 64},
}
FILES = {"spans": "traces.jsonl", "logRecords": "logs.jsonl", "metrics": "metrics.jsonl"}


def stored(arm: str, case: str, kind: str = "generate", **more: Any) -> StoredAnswer:
    """Return a cell; without a completion it is an error."""
    sample = more.pop("sample", 0)
    key = sha256([arm, case, kind, sample])
    cell = Cell(suite="s", case=case, arm=arm, kind=CellKind(kind), sample=sample, key=key)
    status = more.pop("status", "ok" if more.get("completion") else "error")
    return StoredAnswer(cell=cell, status=status, **more)


def answer(text: str, latency: float = 0.5, **more: Any) -> Completion:
    """Return a completion of 7 tokens in and 3 out."""
    known = {"finish_reason": "stop", "input_tokens": 7, "output_tokens": 3} | more
    return Completion(text=text, latency_s=latency, **known)


CELLS = (
    stored("base", "c1", completion=answer("no", batch_size=2), started_s=START),
    stored(
        "tuned",
        "c1",
        completion=Completion(text="", finish_reason="length", latency_s=1.5),
        started_s=START + 1,
        cache_hit=True,
    ),
    stored(
        "base",
        "c1",
        "choices",
        completion=Completion(choice_logprobs=(-1.0,), latency_s=0.25),
        started_s=START + 3,
    ),
    stored("tuned", "c2", error="HTTP 500", started_s=START + 4),
    stored("base", "c2", status="missing", error="it was never answered"),
)
PROMPTS = {
    ("s", "c1", "base"): Prompt("<u>the secret", (1, 2)),
    ("s", "c1", "tuned"): Prompt("<u>the secret"),
}
CASES = {
    ("s", "c1"): Case(id="c1", prompt="the secret", tags=("billing",), stop=("###",)),
    ("s", "c2"): Case(id="c2", prompt="another"),
}
SCORES = (
    ScoreRow(suite="s", metric="exact_match", case="c1", arm="base", value=1.0),
    ScoreRow(
        suite="s", metric="exact_match", case="c1", arm="tuned", value=0.0, reason="said the secret"
    ),
    ScoreRow(
        suite="s", metric="exact_match", case="c2", arm="tuned", value=None, reason="HTTP 500"
    ),
)


def judged(arm: str = "tuned", **more: Any) -> Judgement:
    """Return a judgement of the metric `preferred`, which compares the arms."""
    known: dict[str, Any] = {
        "key": "k" * 64,
        "suite": "s",
        "metric": "preferred",
        "case": "c1",
        "arm": arm,
        "judge": "server:http://judge.example:8000/v1#big",
        "status": JudgementStatus.OK,
        "value": 0.0,
        "replies": (
            JudgeReply(step="verdict", text="let me ponder", problem="no JSON"),
            JudgeReply(step="verdict", text='{"verdict": "first"}'),
            JudgeReply(step="verdict", text='{"verdict": "tie"}'),
        ),
        "attempts": 3,
        "latency_s": 3.0,
    }
    return Judgement(**(known | more))


def metrics() -> tuple[MetricRecord, ...]:
    """Return a rule and a judge of pairs."""
    shared: dict[str, Any] = {"higher_is_better": True, "range": (0.0, 1.0)}
    judge = JudgeRecord(name="pairwise", prompt_sha256="p" * 64, pairs=True)
    kind = CellKind.GENERATE
    return (
        MetricRecord(name="exact_match", use="exact_match", needs=kind, binary=True, **shared),
        MetricRecord(
            name="preferred", use="pairwise", needs=kind, binary=False, judge=judge, **shared
        ),
    )


def manifest(cells: tuple[StoredAnswer, ...] = CELLS, **more: Any) -> Manifest:
    """Return the manifest of a run of these cells in one suite."""
    generation = GenerationSettings(max_new_tokens=9, temperature=0.5, stop=("\n",), **more)
    suite = SuiteRecord(
        name="s",
        path="s/suite.toml",
        hash="h" * 64,
        n_cases=2,
        goal_rule="primary",
        max_unscored=0.05,
        metrics=metrics(),
        gates=(Gate(metric="exact_match", kind="floor", margin=0.5),),
        generation=generation.model_dump(mode="json"),
    )
    return Manifest(
        run_id="run-1",
        created="2026-11-24T00:00:00+00:00",
        command=(),
        arms=ARMS,
        suites=(suite,),
        plan=tuple(c.cell for c in cells),
        seed=0,
        versions={"tunegate": "0.1.0"},
        comparability={},
        liveness={},
        attempts={},
        judges=({"spec": "server:http://judge.example:8000/v1#big"},),
    )


@dataclass(frozen=True)
class Decided:
    """Of the verdict only its words are written."""

    verdict: Verdict = Verdict.SHIP
    suites: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Written:
    """The files of a run."""

    folder: Path

    def lines(self, signal: str) -> list[Any]:
        """Return the lines of a file as JSON."""
        text = (self.folder / FILES[signal]).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def _items(self, signal: str, outer: str, inner: str) -> Iterator[dict[str, Any]]:
        for line in self.lines(signal):
            for resource in line[outer]:
                for scope in resource[inner]:
                    yield from scope[signal]

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Every span, its attributes as a dict."""
        return [_flat(s) for s in self._items("spans", "resourceSpans", "scopeSpans")]

    @property
    def logs(self) -> list[dict[str, Any]]:
        """Every log record."""
        return [_flat(s) for s in self._items("logRecords", "resourceLogs", "scopeLogs")]

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Name → metric."""
        found = self._items("metrics", "resourceMetrics", "scopeMetrics")
        return {metric["name"]: metric for metric in found}

    def named(self, start: str) -> list[dict[str, Any]]:
        """Return the spans whose name begins so."""
        return [span for span in self.spans if span["name"].startswith(start)]

    @property
    def cells(self) -> dict[str, dict[str, Any]]:
        """Store key → the span of the cell."""
        return {
            s["values"]["tunegate.store.key"]: s
            for s in self.spans
            if "tunegate.store.key" in s["values"]
        }


def _flat(item: dict[str, Any]) -> dict[str, Any]:
    events = [e | {"values": values(e)} for e in item.get("events", ())]
    return item | {"values": values(item), "events": events}


def values(item: dict[str, Any]) -> dict[str, Any]:
    """Return attributes as a dict of plain values."""
    return {a["key"]: _plain(a["value"]) for a in item["attributes"]}


def _plain(value: dict[str, Any]) -> Any:
    ((kind, found),) = value.items()
    if kind == "arrayValue":
        return [_plain(item) for item in found["values"]]
    return int(found) if kind == "intValue" else found


@pytest.fixture(name="recorded")
def _recorded() -> RunRecords:
    """Return a run of two cases, one of them judged."""
    verdict: Any = Decided()
    return RunRecords(
        manifest=manifest(),
        cells=CELLS,
        verdict=verdict,
        cases=CASES,
        prompts=PROMPTS,
        scores=SCORES,
        judgements=(judged(),),
    )


@pytest.fixture(name="written")
def _written(tmp_path: Path, recorded: RunRecords) -> Callable[..., Written]:
    """Return a function that writes the files of the run, some of its records changed."""

    def write(content: ContentCapture | None = None, **changed: Any) -> Written:
        cells = changed.get("cells")
        if cells is not None:
            changed.setdefault("manifest", manifest(tuple(cells)))
        path = write_traces(tmp_path, replace(recorded, **changed), content)
        assert path == tmp_path / "traces.jsonl"
        return Written(tmp_path)

    return write
