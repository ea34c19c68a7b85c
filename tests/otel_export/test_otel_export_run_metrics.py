"""metrics.jsonl: seconds and tokens of completions, and cases by how they went."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunegate.harness.otel_export.run_metrics import SECONDS, TOKENS
from tunegate.harness.records.manifest import Manifest


def _values(point: dict[str, Any]) -> dict[str, Any]:
    return {a["key"]: next(iter(a["value"].values())) for a in point["attributes"]}


def _points(metric: dict[str, Any], shape: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(_values(point), point) for point in metric[shape]["dataPoints"]]


def test_boundaries_are_those_of_the_conventions() -> None:
    """From gen-ai-metrics.md, written out."""
    assert [round(x, 2) for x in SECONDS] == [
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    ]  # fmt: skip
    assert TOKENS == (
        1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
    )  # fmt: skip


def test_seconds(written: Any) -> None:
    """A histogram for each arm and way of asking, in seconds, what was cached apart."""
    metric = written().metrics["gen_ai.client.operation.duration"]
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
    metric = written(cells=(four,)).metrics["gen_ai.client.token.usage"]
    told = {v["gen_ai.token.type"]: p for v, p in _points(metric, "histogram")}
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
