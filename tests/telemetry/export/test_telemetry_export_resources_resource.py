"""The program that telemetry is from, and the CI job it is part of."""

from __future__ import annotations

import pytest

from tunegate.harness.telemetry.export import resources


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
def test_the_resource(environ: dict[str, str], expected: dict[str, str]) -> None:
    """OTEL_RESOURCE_ATTRIBUTES adds to ours, OTEL_SERVICE_NAME wins, as OpenTelemetry has it."""
    assert resources.resource_attributes("1", environ) == expected


def test_the_pipeline() -> None:
    """GitHub, GitLab and Jenkins name the run and its page; elsewhere there is none."""
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
