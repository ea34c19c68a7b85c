"""Models as the conventions name them: provider, model, server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.traced_calls import shipped
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.telemetry.export import resources
from tunegate.harness.telemetry.export.otlp_json import SpanKind
from tunegate.harness.telemetry.export.resources import (
    ArmAttributes,
    ModelAttributes,
    OperationAttributes,
)


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (
            {"spec": "adapters/x", "backend": "hf"},
            ModelAttributes("adapters/x", "huggingface.transformers", SpanKind.INTERNAL),
        ),
        (
            {"spec": "server:http://127.0.0.1:8000/v1#shop", "backend": "server"},
            ModelAttributes("shop", "server", SpanKind.CLIENT, "127.0.0.1", 8000),
        ),
        (
            {"spec": "litellm:groq/x", "backend": "litellm", "provider": "groq", "model": "x"},
            ModelAttributes("x", "groq", SpanKind.CLIENT),
        ),
        (
            {"spec": "litellm:xai/grok", "backend": "litellm", "provider": "xai", "model": "grok"},
            ModelAttributes("grok", "x_ai", SpanKind.CLIENT),
        ),
        (
            {"spec": "replay:old.jsonl"},
            ModelAttributes("replay:old.jsonl", "replay", SpanKind.INTERNAL),
        ),
        (
            {"spec": "server:http://[#x", "backend": "server"},
            ModelAttributes("x", "server", SpanKind.CLIENT),
        ),
    ],
)  # fmt: skip
def test_a_model(identity: dict[str, Any], expected: ModelAttributes) -> None:
    """In-process models are INTERNAL, as the conventions allow; those behind a network CLIENT."""
    assert ModelAttributes.of(identity) == expected


def test_a_case_of_its_own_settings_has_them_in_its_span(tmp_path: Path) -> None:
    """In place of the suite's, each once; what it leaves open is the suite's."""
    run, _ = shipped(tmp_path / "tickets", ["x"])
    suite = run.manifest.suites[0]
    case = Case(id="c", prompt="Hi", max_new_tokens=9, temperature=0.5)
    arms = ArmAttributes(run.manifest)

    plain = asked(arms.asked(suite, "tuned", CellKind.GENERATE, Case(id="d", prompt="Hi")))
    own = asked(arms.asked(suite, "tuned", CellKind.GENERATE, case))
    read = asked(arms.asked(suite, "tuned", CellKind.CHOICES, case))

    assert plain == {"max_tokens": "20", "temperature": 0.0, "top_p": 1.0}
    assert own == {"max_tokens": "9", "temperature": 0.5, "top_p": 1.0}
    assert read == {}


def test_settings_of_recorded_answers_are_left_out_where_unknown(tmp_path: Path) -> None:
    """An answer that was made elsewhere does not have the suite's settings."""
    run, _ = shipped(tmp_path / "tickets", ["x"])
    suite = run.manifest.suites[0]
    known = {suite.name: {**suite.generation, "temperature": 0.7}}
    for told, expected in (("unknown", None), (known, 0.7)):
        identity = {"spec": "replay:old.jsonl", "backend": "replay", "generation": told}
        manifest = run.manifest.model_copy(
            update={"arms": {**run.manifest.arms, "tuned": identity}}
        )
        shared = ArmAttributes(manifest).asked(suite, "tuned", CellKind.GENERATE)
        assert asked(shared).get("temperature") == expected
        assert ("tunegate.gen.params" in shared.fixed) is (expected is not None)


def asked(shared: OperationAttributes) -> dict[str, Any]:
    """Return the settings in a span's attributes; no name occurs twice."""
    attributes = json.loads(f"[{shared.fixed}]")
    names = [one["key"] for one in attributes]
    assert len(names) == len(set(names))
    return {
        one["key"].removeprefix("gen_ai.request."): next(iter(one["value"].values()))
        for one in attributes
        if one["key"].startswith("gen_ai.request.") and one["key"] != "gen_ai.request.model"
    }


def test_no_password_of_an_address_is_written() -> None:
    model = ModelAttributes.of({"spec": "server:http://ann:pw@host:1/v1#m", "backend": "server"})
    assert "pw" not in str(model.attributes())


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {"service.name": "tunegate", "service.version": "1"}),
        ({"OTEL_SERVICE_NAME": "gates"}, {"service.name": "gates", "service.version": "1"}),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "team=ml%20ops, service.name=ours,broken,=x"},
            {"service.name": "ours", "service.version": "1", "team": "ml ops"},
        ),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a", "OTEL_SERVICE_NAME": "b"},
            {"service.name": "b", "service.version": "1"},
        ),
    ],
)
def test_the_variables_of_opentelemetry_add_to_the_resource(
    environ: dict[str, str], expected: dict[str, str]
) -> None:
    assert resources.resource_attributes("1", environ) == expected


def test_the_pipelines_run_is_named() -> None:
    github = {
        "GITHUB_RUN_ID": "7",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "acme/bot",
    }
    assert resources.pipeline_attributes(github) == {
        "cicd.pipeline.run.id": "7",
        "cicd.pipeline.run.url.full": "https://github.com/acme/bot/actions/runs/7",
    }
    gitlab = {"CI_PIPELINE_ID": "8", "CI_PIPELINE_URL": "https://lab/8"}
    assert list(resources.pipeline_attributes(gitlab).values()) == ["8", "https://lab/8"]
    assert list(resources.pipeline_attributes({"BUILD_ID": "9", "BUILD_URL": "u"}).values()) == [
        "9",
        "u",
    ]
    assert resources.pipeline_attributes({}) == {}
