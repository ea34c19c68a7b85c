"""Google's ADK: what its recording through litellm does not show, from one over Gemini."""

from __future__ import annotations

import json
from typing import Any

from tests.made_spans import made_span
from tunegate.harness.telemetry.read.conventions import adk

CALL = {"function_call": {"name": "weather", "args": {"city": "Paris"}}}
SAID = {"function_response": {"name": "weather", "response": {"sky": "blue"}}}
DECLARED = {
    "name": "weather",
    "description": "Says what the weather is.",
    "parameters": {
        "type": "OBJECT",
        "properties": {"type": {"type": "STRING", "any_of": [{"type": "NULL"}]}},
        "required": ["type"],
    },
}


def span_of(contents: list[Any], config: dict[str, Any], **reply: Any) -> Any:
    request = {"model": "gemini-2.0-flash", "config": config, "contents": contents}
    return made_span(
        {
            "gcp.vertex.agent.llm_request": json.dumps(request),
            "gcp.vertex.agent.llm_response": json.dumps(reply),
        }
    )


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": [*parts]}


def test_calls_that_gemini_gave_no_id_are_paired_by_name() -> None:
    asked = [
        user({"text": "Weather?"}),
        {"role": "model", "parts": [{"text": "I look."}, CALL, CALL]},
        user(SAID, SAID),
    ]

    call = adk.call(span_of(asked, {}))

    made = [one["id"] for one in call.messages[1]["tool_calls"]]
    assert made == [m["tool_call_id"] for m in call.messages[2:]] == ["call_1", "call_2"]
    assert call.messages[2]["content"] == '{"sky": "blue"}'
    assert call.unreplayable is None


def test_settings_and_types_of_gemini_are_openais() -> None:
    config = {
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "tools": [{"function_declarations": [DECLARED]}],
        "tool_config": {"function_calling_config": {"mode": "ANY"}},
        "max_output_tokens": 50,
        "stop_sequences": ["END"],
        "response_mime_type": "application/json",
    }

    call = adk.call(
        span_of([user({"text": "Hi"})], config, content={"role": "model", "parts": [CALL]})
    )

    assert call.messages[0] == {"role": "system", "content": "Be brief."}
    assert call.tools[0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"type": {"type": "string", "anyOf": [{"type": "null"}]}},
        "required": ["type"],
    }
    assert call.parameters == {
        "max_tokens": 50,
        "stop": ["END"],
        "tool_choice": "required",
        "response_format": {"type": "json_object"},
    }
    assert call.answer_calls[0]["function"] == {
        "name": "weather", "arguments": '{"city": "Paris"}',
    }  # fmt: skip
    assert call.finish_reason == "tool_calls"


def test_an_answer_from_a_search_cannot_be_replayed() -> None:
    grounding = {"web_search_queries": ["news"]}
    said = {"role": "model", "parts": [{"text": "Good."}]}
    asked = [user({"text": "News?"})]

    call = adk.call(
        span_of(
            asked, {"tools": [{"google_search": {}}]}, content=said, grounding_metadata=grounding
        )
    )

    assert call.unreplayable == (
        "a tool of another kind (google_search); "
        "an answer made with the provider's own tools (google_search)"
    )
    assert call.never_replayable


def test_spans_of_tools_are_not_calls() -> None:
    assert not adk.matches(made_span({"gcp.vertex.agent.llm_request": "{}"}))
