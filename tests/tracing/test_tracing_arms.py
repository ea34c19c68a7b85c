"""Models as the conventions name them: provider, model, server."""

from __future__ import annotations

from typing import Any

import pytest

from harness.tracing.arms import Model
from harness.tracing.otlp import Kind


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (
            {"spec": "adapters/x", "backend": "hf"},
            Model("adapters/x", "huggingface.transformers", Kind.INTERNAL),
        ),
        (
            {"spec": "server:http://127.0.0.1:8000/v1#shop", "backend": "server"},
            Model("shop", "server", Kind.CLIENT, "127.0.0.1", 8000),
        ),
        (
            {"spec": "litellm:groq/x", "backend": "litellm", "provider": "groq", "model": "x"},
            Model("x", "groq", Kind.CLIENT),
        ),
        (
            {"spec": "litellm:xai/grok", "backend": "litellm", "provider": "xai", "model": "grok"},
            Model("grok", "x_ai", Kind.CLIENT),
        ),
        ({"spec": "replay:old.jsonl"}, Model("replay:old.jsonl", "replay", Kind.INTERNAL)),
        ({"spec": "server:http://[#x", "backend": "server"}, Model("x", "server", Kind.CLIENT)),
    ],
)  # fmt: skip
def test_a_model(identity: dict[str, Any], expected: Model) -> None:
    """In-process models are INTERNAL, as the conventions allow; those behind a network CLIENT."""
    assert Model.of(identity) == expected


def test_no_password_of_an_address_is_written() -> None:
    """A server's address is its host, whatever the URL holds before it."""
    model = Model.of({"spec": "server:http://ann:pw@host:1/v1#m", "backend": "server"})
    assert "pw" not in str(model.attributes())
