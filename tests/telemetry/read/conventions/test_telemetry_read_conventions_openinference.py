"""OpenInference's flattened attributes."""

from __future__ import annotations

import json

import pytest

from tests.made_spans import made_span
from tunegate.harness.telemetry.read.conventions import openinference

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
ATTRIBUTES = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o-2024",
    "llm.provider": "openai",
    "llm.invocation_parameters": json.dumps(
        {"model": "gpt-4o", "temperature": 0, "seed": 3, "stop": "END", "max_completion_tokens": 9,
         "stream": True, "tool_choice": {"type": "any"}, "extra_body": {"min_p": 0.1}}
    ),
    "llm.input_messages.0.message.role": "system",
    "llm.input_messages.0.message.content": "Be brief.",
    "llm.input_messages.1.message.role": "user",
    "llm.input_messages.1.message.contents.0.message_content.type": "text",
    "llm.input_messages.1.message.contents.0.message_content.text": "Well?",
    "llm.input_messages.2.message.role": "assistant",
    "llm.input_messages.2.message.tool_calls.0.tool_call.id": "c1",
    "llm.input_messages.2.message.tool_calls.0.tool_call.function.name": "f",
    "llm.input_messages.2.message.tool_calls.0.tool_call.function.arguments": '{"a":1}',
    "llm.input_messages.3.message.role": "tool",
    "llm.input_messages.3.message.tool_call_id": "c1",
    "llm.input_messages.3.message.content": "7",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "Seven.",
    "llm.tools.0.tool.json_schema": json.dumps(TOOL),
    "llm.token_count.prompt": 20,
    "llm.token_count.completion": 2,
    "llm.cost.total": 0.25,
    "llm.finish_reason": "stop",
}  # fmt: skip


def test_a_call_is_read() -> None:
    call = openinference.call(made_span(ATTRIBUTES))

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
                    "function": {"name": "f", "arguments": '{"a":1}'},
                }
            ],
        },
        {"role": "tool", "content": "7", "tool_call_id": "c1"},
    )
    assert call.tools == (TOOL,)
    assert call.parameters == {
        "temperature": 0, "seed": 3, "stop": ["END"], "max_tokens": 9,
        "tool_choice": "required", "min_p": 0.1,
    }  # fmt: skip
    assert (call.answer, call.finish_reason, call.model) == ("Seven.", "stop", "gpt-4o-2024")
    assert (call.input_tokens, call.output_tokens, call.cost) == (20, 2, 0.25)
    assert call.unreplayable is None


def test_an_image_is_an_obstacle() -> None:
    """It stands below `message_content.image`."""
    prefix = "llm.input_messages.0.message"
    values = {
        f"{prefix}.role": "user",
        f"{prefix}.contents.0.message_content.type": "text",
        f"{prefix}.contents.0.message_content.text": "What is this?",
        f"{prefix}.contents.1.message_content.type": "image",
        f"{prefix}.contents.1.message_content.image.image.url": "data:image/png;base64,AA",
    }

    call = openinference.call(made_span(values))

    assert call.messages == ({"role": "user", "content": "What is this?"},)
    assert call.unreplayable == "an image in message 1"


def test_hidden_texts_are_said() -> None:
    values = {
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "__REDACTED__",
    }

    told = openinference.call(made_span(values)).unreplayable

    assert told == "message 1 was recorded as __REDACTED__"


def test_text_completions_have_prompts_and_choices() -> None:
    values = {
        "llm.prompts.0.prompt.text": "Once upon",
        "llm.choices.0.completion.text": " a time",
    }

    call = openinference.call(made_span(values))

    assert call.messages == ({"role": "user", "content": "Once upon"},)
    assert call.answer == " a time"


@pytest.mark.parametrize(
    ("kind", "is_call"), [("LLM", True), ("llm", True), ("CHAIN", False), (None, False)]
)
def test_the_kind_of_the_span_decides(kind: str | None, is_call: bool) -> None:
    assert openinference.matches(made_span({"openinference.span.kind": kind})) is is_call
