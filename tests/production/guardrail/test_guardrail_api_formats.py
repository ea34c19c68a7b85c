"""Answers of three interfaces, read as one."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.production.guardrail.api_formats import choices_of, offered_tools

CALL = {"type": "function", "function": {"name": "order", "arguments": '{"id": 1}'}}


def test_chat_completions() -> None:
    """Its choices are taken as they are, from a model of litellm's too."""

    class Response:
        def model_dump(self) -> dict[str, Any]:
            return {"choices": [{"message": {"content": "a"}}]}

    assert choices_of(Response()) == [{"message": {"content": "a"}}]


@pytest.mark.parametrize(
    "response",
    [
        {
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
                {"type": "function_call", "name": "order", "arguments": '{"id": 1}'},
            ]
        },
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Hello"},
                {"type": "tool_use", "name": "order", "input": {"id": 1}},
            ],
        },
    ],
    ids=["responses", "messages"],
)
def test_other_interfaces(response: dict[str, Any]) -> None:
    """Text and calls of OpenAI's responses and of Anthropic's messages."""
    message = {"role": "assistant", "content": "Hello", "tool_calls": [CALL]}

    assert choices_of(response) == [{"message": message, "finish_reason": None}]


@pytest.mark.parametrize("response", [{"data": [{"embedding": [0.1]}]}, b"event", None])
def test_no_words(response: Any) -> None:
    """An embedding has nothing to be read."""
    assert choices_of(response) is None


def test_offered_tools() -> None:
    """Name and schema, wherever the interface has them."""
    schema = {"type": "object", "properties": {}}
    request = {
        "tools": [
            {"type": "function", "function": {"name": "a", "parameters": schema}},
            {"type": "function", "name": "b", "parameters": schema},
            {"name": "c", "input_schema": schema},
            {"name": "d"},
        ]
    }

    assert offered_tools(request) == {
        "a": schema,
        "b": schema,
        "c": schema,
        "d": {"type": "object"},
    }
    assert offered_tools({}) == {}
