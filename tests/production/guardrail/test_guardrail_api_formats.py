"""Answers of three interfaces, read as one."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.production.guardrail.api_formats import choices_of, offered_tools

CALL = {"type": "function", "function": {"name": "order", "arguments": '{"id": 1}'}}


def test_choices_of_chat_completions_are_kept() -> None:
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
def test_responses_and_messages_become_a_choice(response: dict[str, Any]) -> None:
    message = {"role": "assistant", "content": "Hello", "tool_calls": [CALL]}

    assert choices_of(response) == [{"message": message, "finish_reason": None}]


@pytest.mark.parametrize("response", [{"data": [{"embedding": [0.1]}]}, b"event", None])
def test_an_embedding_has_no_choices(response: Any) -> None:
    assert choices_of(response) is None


def test_tools_are_read_in_every_format() -> None:
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
