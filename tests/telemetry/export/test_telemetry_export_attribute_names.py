"""Every name that a run writes is one of the pinned registry, or of our own namespace."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.telemetry.export import attribute_names
from tunegate.harness.telemetry.export.content import ContentCapture
from tunegate.harness.telemetry.export.run_records import RunRecords

REGISTRY = json.loads(Path(__file__).with_name("genai_registry.json").read_text(encoding="utf-8"))


@pytest.fixture(name="run")
def _run(written: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the files of a run in CI, with everything in them."""
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "acme/bot")
    return written(ContentCapture())


def _names(item: Any) -> set[str]:
    """Return every attribute's name, however deep it stands."""
    if isinstance(item, dict):
        own = {item["key"]} if "key" in item and "value" in item else set()
        return own.union(*(_names(inner) for inner in item.values()))
    return set().union(*(_names(inner) for inner in item)) if isinstance(item, list) else set()


def test_every_attribute_is_registered(run: Any) -> None:
    """In spans, events, links, log records and metrics; what the conventions lack is ours."""
    found: set[str] = set()
    for signal in ("spans", "logRecords", "metrics"):
        found |= _names(run.lines(signal))

    foreign = {name for name in found if not name.startswith(("tunegate.", "service."))}
    assert len(foreign) > 20
    assert foreign <= set(REGISTRY["attributes"])
    named = {value for value in vars(attribute_names).values() if isinstance(value, str)}
    assert {name for name in found if name.startswith("tunegate.")} <= named


def test_tokens_of_thoughts_are_written_where_they_are_known(
    written: Any, recorded: RunRecords
) -> None:
    name = "gen_ai.usage.reasoning.output_tokens"
    first = recorded.cells[0]
    assert first.completion is not None
    thought = first.completion.model_copy(update={"reasoning": "Hm", "reasoning_tokens": 2})

    run = written(cells=(replace(first, completion=thought), *recorded.cells[1:]))

    found = [span["values"][name] for span in run.spans if name in span["values"]]
    assert found == [2]
    assert name in REGISTRY["attributes"]


def test_events_and_metrics_are_registered(run: Any) -> None:
    events = {record["eventName"] for record in run.logs}
    assert events == {"gen_ai.evaluation.result"} <= set(REGISTRY["events"])
    assert not any(span["events"] for span in run.spans)  # deprecated
    assert set(run.metrics) - {"tunegate.cases"} == {
        "gen_ai.client.inference.duration",
        "gen_ai.client.inference.operation.input_tokens",
        "gen_ai.client.inference.operation.output_tokens",
    }
    assert set(run.metrics) - {"tunegate.cases"} <= set(REGISTRY["metrics"])


def test_values_with_a_list_of_their_own_are_on_it(run: Any) -> None:
    seen: dict[str, set[str]] = {}
    for span in run.spans:
        for name, value in span["values"].items():
            seen.setdefault(name, set()).add(str(value))
    assert seen["gen_ai.operation.name"] <= set(REGISTRY["operations"])
    assert seen["test.suite.run.status"] <= set(REGISTRY["suite_statuses"])
    assert seen["test.case.result.status"] <= set(REGISTRY["case_results"])


def test_the_registry_that_files_name_is_the_pinned_one(run: Any) -> None:
    urls = {
        scope["schemaUrl"]
        for line in run.lines("spans")
        for resource in line["resourceSpans"]
        for scope in resource["scopeSpans"]
    }
    (url,) = urls
    assert url in REGISTRY["source"]
