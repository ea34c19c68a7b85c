"""Tool definitions and settings in OpenAI's form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunegate.harness.telemetry.read.conventions._common import (
    finish_reason,
    parse_parameters,
    request_parameters,
    tool_definitions,
)

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
FUNCTION = {"name": "f", "description": "Does.", "parameters": SCHEMA}
TOOL = {"type": "function", "function": FUNCTION}


@pytest.mark.parametrize(
    "written",
    [
        TOOL,
        FUNCTION,
        {"type": "function", **FUNCTION},
        {"name": "f", "description": "Does.", "input_schema": SCHEMA},
        {"type": "custom", "name": "f", "description": "Does.", "input_schema": SCHEMA},
        {"name": "f", "description": "Does.", "inputSchema": SCHEMA},
        {"name": "f", "description": "Does.", "parameters": json.dumps(SCHEMA)},
        {"tool": {"json_schema": json.dumps(TOOL)}},
        {"json_schema": TOOL},
        json.dumps(TOOL),
    ],
)
def test_every_form_is_the_same_tool(written: Any) -> None:
    assert tool_definitions([written]) == ([TOOL], [])
    assert tool_definitions(json.dumps([written])) == ([TOOL], [])


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"type": "web_search_20250305", "name": "web_search"}, "web_search_20250305"),
        ({"type": "function"}, "without a name"),
        (7, "without a name"),
    ],
)
def test_others_are_said(written: Any, told: str) -> None:
    """A tool that the provider runs cannot be offered to another model."""
    assert tool_definitions([written]) == ([], [f"a tool of another kind ({told})"])


def test_a_tool_of_which_only_the_name_is_known_cannot_be_offered() -> None:
    assert tool_definitions([{"name": "f"}]) == ([], ["a tool recorded by its name alone (f)"])


def test_a_function_keeps_what_else_matters() -> None:
    """`strict` stays; missing parameters stay missing."""
    function = {"name": "f", "strict": True}

    assert (
        tool_definitions([{"type": "function", "function": function}])[0][0]["function"] == function
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_new_tokens": 5, "num_predict": None}, {"max_tokens": 5}),
        ({"stop_sequences": ["a"]}, {"stop": ["a"]}),
        ({"stop": "a"}, {"stop": ["a"]}),
        ({"stop": '["a", "b"]'}, {"stop": ['["a", "b"]']}),
        ({"stop": []}, {}),
        ({"tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
        (
            {"tool_choice": {"type": "tool", "name": "f"}},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
        ({"tool_choice": "none"}, {"tool_choice": "none"}),
        ({"extra_body": {"min_p": 0.1, "seed": 1}, "seed": 2}, {"min_p": 0.1, "seed": 2}),
        ({"model": "m", "messages": [1], "stream": True, "_type": "openai-chat"}, {}),
        ({"frobnication": 3}, {"frobnication": 3}),
        ("no JSON", {}),
        (None, {}),
    ],
)
def test_settings_of_a_request(raw: Any, expected: dict[str, Any]) -> None:
    assert parse_parameters(raw) == expected


def test_settings_may_be_json() -> None:
    assert parse_parameters(json.dumps({"seed": 1})) == {"seed": 1}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            {"gen_ai.request.top_k": 3, "gen_ai.request.model": "m", "gen_ai.usage.x": 1},
            {"top_k": 3},
        ),
        (
            {"gen_ai.request.structured_output_schema": '{"type": "object"}'},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}},
                }
            },
        ),
        ({"gen_ai.output.type": "json"}, {"response_format": {"type": "json_object"}}),
        ({"gen_ai.output.type": "text"}, {}),
    ],
)
def test_settings_in_attributes_of_their_own(
    attributes: dict[str, Any], expected: dict[str, Any]
) -> None:
    """`gen_ai.request.…`, and what says which form the answer has."""
    assert request_parameters(attributes) == expected


def test_what_the_responses_api_nests_is_what_the_chat_api_has() -> None:
    form = {"name": "poem", "schema": {"type": "object"}, "strict": True}
    asked = {
        "text": {"format": {"type": "json_schema", **form}, "verbosity": "low"},
        "reasoning": {"effort": "high", "summary": "auto"},
        "max_output_tokens": 9,
        "tool_choice": {"type": "function", "name": "weather"},
    }

    assert parse_parameters(asked) == {
        "response_format": {"type": "json_schema", "json_schema": form},
        "verbosity": "low",
        "reasoning_effort": "high",
        "max_tokens": 9,
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
    }
    plain = {"text": {"format": {"type": "json_object"}}, "reasoning": {}}
    assert parse_parameters(plain) == {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("end_turn", "stop"),
        ("STOP", "stop"),
        ("tool_use", "tool_calls"),
        ("MAX_TOKENS", "length"),
        ("length", "length"),
        ("SAFETY", "content_filter"),
        ("Guardrail", "guardrail"),
        (None, None),
    ],
)
def test_providers_reasons_for_an_end_are_openais_words(
    written: str | None, word: str | None
) -> None:
    assert finish_reason({"gen_ai.response.finish_reasons": [written]}, None) == word
    assert finish_reason({}, written) == word
