"""OpenLLMetry's indexed attributes."""

from __future__ import annotations

import json

from tests.made_spans import made_span
from tunegate.harness.telemetry.read.conventions import openllmetry

# As opentelemetry-instrumentation-openai 0.40 writes them.
ATTRIBUTES = {
    "llm.request.type": "chat",
    "gen_ai.system": "OpenAI",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.request.temperature": 0.5,
    "llm.frequency_penalty": 0.25,
    "llm.chat.stop_sequences": ["END"],
    "llm.is_streaming": False,
    "llm.request.functions.0.name": "f",
    "llm.request.functions.0.description": "Does.",
    "llm.request.functions.0.parameters": '{"type": "object"}',
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": "Be brief.",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": '[{"type": "text", "text": "Well?"}]',
    "gen_ai.prompt.2.role": "assistant",
    "gen_ai.prompt.2.tool_calls.0.id": "c1",
    "gen_ai.prompt.2.tool_calls.0.name": "f",
    "gen_ai.prompt.2.tool_calls.0.arguments": '{"a": 1}',
    "gen_ai.prompt.3.role": "tool",
    "gen_ai.prompt.3.tool_call_id": "c1",
    "gen_ai.prompt.3.content": "7",
    "gen_ai.completion.0.role": "thinking",
    "gen_ai.completion.0.content": "Hm.",
    "gen_ai.completion.1.role": "assistant",
    "gen_ai.completion.1.content": "Seven.",
    "gen_ai.completion.1.finish_reason": "stop",
    "gen_ai.prompt.prompt_filter_results": "[]",
    "gen_ai.usage.prompt_tokens": 20,
    "gen_ai.usage.completion_tokens": 2,
}


def test_a_call_is_read() -> None:
    span = made_span(ATTRIBUTES)

    call = openllmetry.call(span)

    assert openllmetry.matches(span)
    assert call.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Well?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a": 1}'},
                }
            ],
        },
        {"role": "tool", "content": "7", "tool_call_id": "c1"},
    )
    assert call.tools == (
        {
            "type": "function",
            "function": {"name": "f", "description": "Does.", "parameters": {"type": "object"}},
        },
    )
    assert call.parameters == {"temperature": 0.5, "frequency_penalty": 0.25, "stop": ["END"]}
    assert (call.answer, call.finish_reason) == ("Seven.", "stop")
    assert (call.input_tokens, call.output_tokens) == (20, 2)
    assert call.unreplayable is None


def test_a_text_that_is_json_stays_a_text() -> None:
    said = json.dumps([{"sku": 1}])
    values = {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": said}

    assert openllmetry.call(made_span(values)).messages == ({"role": "user", "content": said},)


def test_embeddings_are_no_calls() -> None:
    values = {"llm.request.type": "embedding", "gen_ai.prompt.0.content": "x"}

    assert not openllmetry.matches(made_span(values))


def test_the_arguments_of_llamaindex_say_more_than_its_messages() -> None:
    """Tools, tool calls and results stand in `traceloop.entity.input` alone."""
    use = {"tool_call_id": "c1", "tool_name": "f", "tool_kwargs": {"a": 1}}
    turns = [
        {"role": "user", "blocks": [{"block_type": "text", "text": "Well?"}]},
        {"role": "assistant", "blocks": [{"block_type": "tool_call", **use}]},
        {
            "role": "tool",
            "additional_kwargs": {"tool_call_id": "c1"},
            "blocks": [{"block_type": "text", "text": "7"}],
        },
    ]
    tool = {"type": "function", "function": {"name": "f"}}
    span = made_span(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.input.messages": '[{"role": "assistant", "parts": []}]',
            "gen_ai.output.messages": '[{"role": "assistant", "parts": [], "finish_reason": "x"}]',
            "traceloop.entity.input": json.dumps({"messages": turns, "kwargs": {"tools": [tool]}}),
            "traceloop.entity.output": json.dumps({"message": turns[1]}),
        }
    )
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}

    call = openllmetry.call(span)

    assert openllmetry.matches(span)
    assert call.messages == (
        {"role": "user", "content": "Well?"},
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "content": "7", "tool_call_id": "c1"},
    )
    assert call.tools == (tool,)
    assert (call.answer, call.answer_calls, call.finish_reason) == ("", (called,), "x")
