"""OpenTelemetry's GenAI conventions, with the messages in attributes or in one event."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.made_spans import made_span
from tunegate.harness.telemetry.read.conventions import genai
from tunegate.harness.telemetry.read.trace_types import SpanEvent

# The example of semantic-conventions-genai, docs/gen-ai/gen-ai-spans.md, "Tool calls".
INPUT = [
    {"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}]},
    {
        "role": "assistant",
        "parts": [
            {
                "type": "tool_call",
                "id": "call_VSPygqKTWdrhaFErNvMV18Yl",
                "name": "get_weather",
                "arguments": {"location": "Paris"},
            }
        ],
    },
    {
        "role": "tool",
        "parts": [
            {
                "type": "tool_call_response",
                "id": "call_VSPygqKTWdrhaFErNvMV18Yl",
                "response": "rainy, 57°F",
            }
        ],
    },
]
OUTPUT = [
    {
        "role": "assistant",
        "parts": [{"type": "text", "content": "It is rainy, 57°F."}],
        "finish_reason": "stop",
    }
]
SYSTEM = [{"type": "text", "content": "You answer briefly."}]
TOOLS = [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}]
CONTENT = {
    "gen_ai.input.messages": INPUT,
    "gen_ai.output.messages": OUTPUT,
    "gen_ai.system_instructions": SYSTEM,
    "gen_ai.tool.definitions": TOOLS,
}
REQUEST = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.max_tokens": 100,
    "gen_ai.request.stop_sequences": ["END"],
    "gen_ai.request.choice.count": 2,
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 7,
}
MESSAGES = (
    {"role": "system", "content": "You answer briefly."},
    {"role": "user", "content": "Weather in Paris?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "call_VSPygqKTWdrhaFErNvMV18Yl",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"location": "Paris"}'},
            }
        ],
    },
    {
        "role": "tool",
        "content": "rainy, 57°F",
        "tool_call_id": "call_VSPygqKTWdrhaFErNvMV18Yl",
    },
)


def as_json(values: dict[str, Any]) -> dict[str, str]:
    """Return the values as JSON texts."""
    return {name: json.dumps(value) for name, value in values.items()}


@pytest.mark.parametrize("content", [CONTENT, as_json(CONTENT)], ids=["structured", "json"])
def test_a_call_is_read_from_attributes(content: dict[str, Any]) -> None:
    span = made_span(REQUEST | content)

    call = genai.call(span)

    assert genai.matches(span)
    assert call.messages == MESSAGES
    assert call.tools == (
        {
            "type": "function",
            "function": {"name": "get_weather", "parameters": {"type": "object"}},
        },
    )
    assert call.parameters == {"temperature": 0.5, "max_tokens": 100, "stop": ["END"], "n": 2}
    assert (call.answer, call.answer_calls) == ("It is rainy, 57°F.", ())
    assert (call.finish_reason, call.model, call.provider) == ("stop", "gpt-4o", "openai")
    assert (call.input_tokens, call.output_tokens, call.cost) == (12, 7, None)
    assert call.unreplayable is None
    assert call.latency_s == 1.0


def test_content_may_stand_on_the_details_event() -> None:
    event = SpanEvent("gen_ai.client.inference.operation.details", CONTENT)

    call = genai.call(made_span(REQUEST, events=[event]))

    assert call.messages == MESSAGES
    assert call.answer == "It is rainy, 57°F."
    assert len(call.tools) == 1


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"type": "blob", "modality": "image", "content": "AAAA"}, "an image in message 1"),
        ({"type": "uri", "mime_type": "audio/wav", "uri": "file:a"}, "audio in message 1"),
        ({"type": "file", "file_id": "f-1"}, "a file in message 1"),
        ({"type": "compaction"}, "a part of the type 'compaction' in message 1"),
    ],
)
def test_a_part_that_is_no_text_cannot_be_asked_again(part: dict[str, Any], told: str) -> None:
    parts = [{"type": "text", "content": "What is this?"}, part]

    call = genai.call(made_span({"gen_ai.input.messages": [{"role": "user", "parts": parts}]}))

    assert call.messages == ({"role": "user", "content": "What is this?"},)
    assert call.unreplayable == told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "no content was captured"),
        ({"gen_ai.input.messages": []}, "no content was captured"),
        (
            {"gen_ai.input.messages": [{"role": "user", "parts": []}]},
            "message 1 was recorded without its content",
        ),
        (
            {"gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "te'},
            "gen_ai.input.messages is not JSON, as if it was cut off",
        ),
        (
            {
                "gen_ai.input.messages": CONTENT["gen_ai.input.messages"],
                "gen_ai.request.previous_response.id": "resp_1",
            },
            "the conversation before it is kept by the provider",
        ),
        (
            {"gen_ai.input.messages": [INPUT[0], INPUT[2]]},
            "message 2 answers a tool call that was not recorded",
        ),
        (
            {
                "gen_ai.input.messages": CONTENT["gen_ai.input.messages"],
                "gen_ai.tool.definitions": [{"type": "web_search", "name": "search"}],
            },
            "a tool of another kind (web_search)",
        ),
    ],
)
def test_what_is_missing_is_said(content: dict[str, Any], told: str) -> None:
    assert genai.call(made_span(REQUEST | content)).unreplayable == told


@pytest.mark.parametrize("operation", ["embeddings", "execute_tool", "invoke_agent", "rerank"])
def test_other_operations_are_no_calls(operation: str) -> None:
    span = made_span({"gen_ai.operation.name": operation, "gen_ai.input.messages": INPUT})

    assert not genai.matches(span)


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "content": "one"}, {"type": "text", "content": "two"}]
    turns = [{"role": role, "parts": parts} for role in ("user", "assistant")]

    call = genai.call(made_span({"gen_ai.input.messages": turns}))

    assert [message["content"] for message in call.messages] == ["one\ntwo", "onetwo"]


def test_half_a_surrogate_pair_becomes_a_mark() -> None:
    turn = [{"role": "user", "parts": [{"type": "text", "content": "a\ud83d"}]}]
    values = {
        "gen_ai.input.messages": json.dumps(turn),
        "gen_ai.output.messages": json.dumps(turn),
        "gen_ai.request.stop_sequences": ["\ud83d"],
    }

    call = genai.call(made_span(values))

    assert call.messages[0]["content"] == call.answer == "a\N{REPLACEMENT CHARACTER}"
    assert call.parameters == {"stop": ["\N{REPLACEMENT CHARACTER}"]}


@pytest.mark.parametrize(
    "name",
    [
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.output_tokens.reasoning",
        "llm.token_count.completion_details.reasoning",
        "llm.usage.reasoning_tokens",
        "ai.usage.reasoningTokens",
    ],
)
def test_tokens_of_thoughts_are_read(name: str) -> None:
    """Under the name of each convention; the 0 that libraries write for "unknown" is left out."""
    asked = {"gen_ai.operation.name": "chat", "gen_ai.usage.output_tokens": 9}

    assert genai.call(made_span(asked | {name: 7})).reasoning_tokens == 7
    assert genai.call(made_span(asked | {name: 0})).reasoning_tokens is None
    assert genai.call(made_span(asked)).reasoning_tokens is None
