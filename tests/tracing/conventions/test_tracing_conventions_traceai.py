"""traceAI's mixture of OpenTelemetry's names and OpenInference's form."""

from __future__ import annotations

import json

import pytest

from harness.tracing.conventions import traceai
from tests.made_spans import made_span

TOOL = {"type": "function", "function": {"name": "f"}}


def test_a_call_is_read() -> None:
    """Messages are flattened, settings are one JSON, tools stand twice."""
    message = "gen_ai.input.messages.0.message"
    span = made_span(
        {
            "gen_ai.span.kind": "LLM",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "m",
            "gen_ai.request.parameters": json.dumps({"model": "m", "top_p": 0.5, "seed": 1}),
            f"{message}.role": "user",
            f"{message}.contents.0.message_content.type": "text",
            f"{message}.contents.0.message_content.text": "Well?",
            "gen_ai.output.messages.0.message.content": "Yes.",
            "gen_ai.tool.definitions": json.dumps([TOOL]),
            "gen_ai.tool.definitions.0.tool.json_schema": json.dumps(TOOL),
            "gen_ai.cost.total": 0.5,
        }
    )

    call = traceai.call(span)

    assert traceai.matches(span)
    assert call.messages == ({"role": "user", "content": "Well?"},)
    assert call.parameters == {"top_p": 0.5, "seed": 1}
    assert call.tools == (TOOL,)
    assert (call.answer, call.model, call.provider, call.cost) == ("Yes.", "m", "openai", 0.5)


def test_its_first_versions_had_other_names() -> None:
    """`fi.span.kind` with OpenInference's `llm.…`."""
    span = made_span(
        {
            "fi.span.kind": "LLM",
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": "Well?",
            "llm.invocation_parameters": '{"temperature": 1}',
        }
    )

    call = traceai.call(span)

    assert traceai.matches(span)
    assert call.messages == ({"role": "user", "content": "Well?"},)
    assert call.parameters == {"temperature": 1}


@pytest.mark.parametrize("kind", ["CHAIN", "TOOL", "EMBEDDING", ""])
def test_other_kinds_are_no_calls(kind: str) -> None:
    """A chain is no call."""
    assert not traceai.matches(made_span({"gen_ai.span.kind": kind}))
