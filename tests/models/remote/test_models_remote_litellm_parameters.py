"""Which settings a model takes, without asking it."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.models.remote.litellm_provider import accepted_parameters, settings_problem


@pytest.mark.parametrize(
    ("model", "takes", "lacks"),
    [
        ("openai/gpt-4o-mini", {"seed", "stop", "tools"}, set()),
        ("anthropic/claude-sonnet-4-5", {"stop", "tools"}, {"seed"}),
        ("openai/gpt-5", {"seed", "tools"}, {"stop"}),
        ("hosted_vllm/acme/support", {"seed", "stop", "tools"}, set()),
    ],
)
def test_what_a_model_takes(model: str, takes: set[str], lacks: set[str]) -> None:
    assert takes <= accepted_parameters(model)
    assert not lacks & accepted_parameters(model)


@pytest.mark.parametrize(
    ("model", "settings", "named"),
    [
        ("openai/o1", {"temperature": 0.0}, "temperature=0.0"),
        ("openai/gpt-5", {"top_p": 0.5}, "top_p"),
    ],
)
def test_what_a_model_does_not_take_is_named(
    model: str, settings: dict[str, Any], named: str
) -> None:
    found = settings_problem(model, settings)

    assert found is not None
    assert named in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("openai/gpt-4o-mini", {"temperature": 0.0, "max_tokens": 8}),
        ("openai/o1", {"temperature": 1.0, "max_tokens": 8}),
        ("hosted_vllm/acme/support", {"temperature": 0.0, "top_p": 0.5}),
    ],
)
def test_what_a_model_takes_is_no_objection(model: str, settings: dict[str, Any]) -> None:
    assert settings_problem(model, settings) is None
