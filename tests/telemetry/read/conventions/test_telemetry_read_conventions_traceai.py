"""traceAI's mixture of OpenTelemetry's names and OpenInference's form."""

from __future__ import annotations

import json

import pytest

from tests.made_spans import made_span
from tunegate.harness.telemetry.read.conventions import traceai

TOOL = {"type": "function", "function": {"name": "f"}}


def test_a_call_is_read() -> None:
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
    assert not traceai.matches(made_span({"gen_ai.span.kind": kind}))


def test_hugging_face_is_written_as_python_prints_it() -> None:
    """Parts are read from there; what was None is missing."""
    span = made_span(
        {
            "gen_ai.span.kind": "LLM",
            "gen_ai.provider.name": "huggingface",
            "gen_ai.input.messages.0.message.role": "user",
            "gen_ai.input.messages.0.message.content": "[{'type': 'text', 'text': 'Well?'}]",
            "gen_ai.input.messages.1.message.role": "assistant",
            "gen_ai.input.messages.1.message.content": "None",
            "gen_ai.input.messages.2.message.role": "user",
            "gen_ai.input.messages.2.message.content": "[{'sku': 1}]",
            "huggingface.tools": json.dumps([TOOL]),
            "huggingface.tool_choice": "auto",
            "huggingface.tool_calls": json.dumps(
                [
                    {"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}},
                    {"index": 0, "function": {"name": None, "arguments": '{"a"'}},
                    {"index": 1, "id": "c2", "function": {"name": "g", "arguments": "{}"}},
                    {"index": 0, "function": {"name": None, "arguments": ": 1}"}},
                ]
            ),
        }
    )

    call = traceai.call(span)

    assert [m["content"] for m in call.messages] == ["Well?", "", "[{'sku': 1}]"]
    assert call.unreplayable == "message 2 was recorded without its content"
    assert call.tools == (TOOL,)
    assert call.parameters == {"tool_choice": "auto"}
    assert call.answer_calls == (
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    )


def test_langchain_has_its_tool_calls_in_the_reply_alone() -> None:
    """`output.value` is the whole result."""
    said = {"content": "", "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "c1"}]}
    one = {"text": "", "generation_info": {"finish_reason": "tool_calls"}}
    reply = {"generations": [[{**one, "message": {"kwargs": said}}]]}
    span = made_span(
        {
            "gen_ai.span.kind": "LLM",
            "gen_ai.output.messages.0.message.role": "assistant",
            "output.value": json.dumps(reply),
        }
    )

    call = traceai.call(span)

    assert call.answer_calls == (
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
    )
    assert (call.answer, call.finish_reason) == ("", "tool_calls")


def test_the_result_of_anthropics_tool_is_a_message_of_its_own() -> None:
    prefix = "gen_ai.input.messages.0.message"
    span = made_span(
        {
            f"{prefix}.role": "user",
            f"{prefix}.tool_call_id": "c1",
            f"{prefix}.content": "7",
            f"{prefix}.content.1.message_content.type": "text",
            f"{prefix}.content.1.message_content.text": "In words.",
        }
    )

    assert traceai.call(span).messages == (
        {"role": "tool", "content": "7", "tool_call_id": "c1"},
        {"role": "user", "content": "In words."},
    )
