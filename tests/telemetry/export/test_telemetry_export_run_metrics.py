"""metrics.jsonl: seconds and tokens of completions, and cases by how they went."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tunegate.harness.records.episodes import EpisodeEnd, EpisodeRecord, EpisodeTurn
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.telemetry.export.resources import ModelAttributes, OperationAttributes
from tunegate.harness.telemetry.export.run_metrics import SECONDS, TOKENS, RunTotals


def _values(point: dict[str, Any]) -> dict[str, Any]:
    return {a["key"]: next(iter(a["value"].values())) for a in point["attributes"]}


def _points(metric: dict[str, Any], shape: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(_values(point), point) for point in metric[shape]["dataPoints"]]


def test_boundaries_are_those_of_the_conventions() -> None:
    """Seconds: from client-inference.md, written out; tokens: powers of four."""
    assert [round(x, 2) for x in SECONDS] == [
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    ]  # fmt: skip
    assert TOKENS == (
        1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
    )  # fmt: skip


def test_seconds(written: Any) -> None:
    """A histogram for each arm and way of asking, in seconds, what was cached apart."""
    metric = written().metrics["gen_ai.client.inference.duration"]
    assert metric["unit"] == "s"
    assert metric["histogram"]["aggregationTemporality"] == 2
    points = _points(metric, "histogram")
    told = {
        (v["gen_ai.operation.name"], v["tunegate.arm"], v["tunegate.cache.hit"]): p
        for v, p in points
    }
    assert {key: (p["count"], p["sum"]) for key, p in told.items()} == {
        ("chat", "base", False): ("1", 0.5),
        ("chat", "tuned", True): ("1", 1.5),
        ("text_completion", "base", False): ("1", 0.25),
    }
    base = told["chat", "base", False]
    # 0.32 < 0.5 <= 0.64: the seventh bucket
    assert [int(n) for n in base["bucketCounts"]] == [0] * 6 + [1] + [0] * 8
    assert (base["min"], base["max"]) == (0.5, 0.5)
    assert {v["gen_ai.provider.name"] for v, _ in points} == {"huggingface.transformers"}


def test_a_boundary_belongs_to_the_bucket_below(written: Any, recorded: Any) -> None:
    """OTLP's buckets include their upper boundary: 4 tokens are in (1, 4]."""
    cell = recorded.cells[0]
    four = replace(cell, completion=cell.completion.model_copy(update={"output_tokens": 4}))
    metrics = written(cells=(four,)).metrics
    told = {
        way: _points(metrics[f"gen_ai.client.inference.operation.{way}_tokens"], "histogram")[0][1]
        for way in ("input", "output")
    }
    assert told["output"]["bucketCounts"][:4] == ["0", "1", "0", "0"]
    assert told["input"]["bucketCounts"][:4] == ["0", "0", "1", "0"]  # 7 tokens


def test_cases_by_status(written: Any, recorded: Any) -> None:
    """Regressed, unscored, and what was planned and never asked."""
    plan = recorded.manifest.plan
    more = replace(plan[0], case="c3", key="3" * 64)
    manifest: Manifest = recorded.manifest.model_copy(update={"plan": (*plan, more)})
    metric = written(manifest=manifest).metrics["tunegate.cases"]
    assert metric["sum"]["isMonotonic"] is True
    counted = {v["tunegate.case.status"]: p["asInt"] for v, p in _points(metric, "sum")}
    assert counted == {"regressed": "1", "unscored": "1", "skipped": "1"}


def test_an_episode_is_counted_by_its_turns(recorded: Any) -> None:
    """Its seconds are an agent's; seconds and tokens of its model are those of two turns."""
    turns = tuple(
        EpisodeTurn(prompt_sha256="0" * 64, text="t", latency_s=s, input_tokens=n, output_tokens=1)
        for s, n in ((0.5, 7), (1.5, 9))
    )
    episode = EpisodeRecord(turns=turns, reward=1.0, end=EpisodeEnd.ANSWERED)
    cell = recorded.cells[0]
    done = cell.completion.model_copy(
        update={"episode": episode, "latency_s": 3.0, "input_tokens": 16, "output_tokens": 2}
    )
    totals = RunTotals()
    model = ModelAttributes.of({"spec": "m"})
    asked = OperationAttributes("invoke_agent", model, "", agent="s")

    totals.completion(replace(cell, completion=done), asked)

    made = [json.loads(text) for text in totals.metrics(0, 1)]
    found = {
        m["name"].removeprefix("gen_ai."): [
            (_values(p)["gen_ai.operation.name"], p["count"], p["sum"])
            for p in m["histogram"]["dataPoints"]
        ]
        for m in made
    }
    assert found == {
        "invoke_agent.duration": [("invoke_agent", "1", 3.0)],
        "client.inference.duration": [("chat", "2", 2.0)],
        "client.inference.operation.input_tokens": [("chat", "2", 16)],
        "client.inference.operation.output_tokens": [("chat", "2", 2)],
    }
