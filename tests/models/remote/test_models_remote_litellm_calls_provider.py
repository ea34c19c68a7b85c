"""Which variables a provider needs and which settings a model takes, without asking it."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.models.remote.litellm_provider import (
    accepted_parameters,
    provider_of,
    settings_problem,
)
from tunegate.harness.records.errors import ModelError

VARIABLES = (
    "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "AZURE_API_KEY",
    "AZURE_API_BASE", "AZURE_API_VERSION", "HOSTED_VLLM_API_BASE", "OLLAMA_API_BASE",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def refusal(model: str) -> str:
    """Return the one line with which a model is refused."""
    with pytest.raises(ModelError) as caught:
        provider_of(f"litellm:{model}", model)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"litellm:{model}: ")
    return line


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("openai/gpt-4o-mini", "OPENAI_API_KEY"),
        ("openai/ft:gpt-4o-mini-2024-07-18:acme::abc", "OPENAI_API_KEY"),
        ("anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
        ("gemini/gemini-2.5-flash", "GOOGLE_API_KEY or GEMINI_API_KEY"),
        ("azure/my-deployment", "AZURE_API_BASE, AZURE_API_VERSION, AZURE_API_KEY"),
        ("hosted_vllm/acme/support", "HOSTED_VLLM_API_BASE"),
    ],
)
def test_a_missing_variable_is_named(model: str, named: str) -> None:
    assert f"without {named}: set it" in refusal(model)


def test_only_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_API_KEY", "k")

    assert "without AZURE_API_BASE, AZURE_API_VERSION: set it" in refusal("azure/my-deployment")


@pytest.mark.parametrize("model", ["nobody/knows", "gpt-nobody-knows", ""])
def test_an_unknown_provider_is_refused_with_an_example(model: str) -> None:
    """And not asked of whomever litellm would take."""
    assert "litellm:openai/gpt-4o-mini" in refusal(model)


@pytest.mark.parametrize(
    ("model", "variable", "provider"),
    [
        ("openai/gpt-4o-mini", "OPENAI_API_KEY", "openai"),
        ("hosted_vllm/acme/support", "HOSTED_VLLM_API_BASE", "hosted_vllm"),
        ("ollama/llama3.2", "UNUSED", "ollama"),
        ("gemini/gemini-2.5-flash", "GEMINI_API_KEY", "gemini"),
    ],
)
def test_a_provider_with_its_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, model: str, variable: str, provider: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:1/v1")

    assert provider_of(f"litellm:{model}", model) == provider


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
