"""OpenTelemetry's GenAI conventions with an event for every message."""

from __future__ import annotations

import json

from tests.made_spans import made_span
from tunegate.harness.telemetry.read.conventions import genai_events
from tunegate.harness.telemetry.read.types import SpanEvent

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def test_messages_are_the_bodies_of_log_records() -> None:
    """With the role in the event's name and a tool's call id under `id`."""
    events = [
        SpanEvent("gen_ai.system.message", {}, {"content": "Be brief."}),
        SpanEvent("gen_ai.user.message", {}, {"content": "Well?"}),
        SpanEvent("gen_ai.assistant.message", {}, {"tool_calls": [CALL]}),
        SpanEvent("gen_ai.tool.message", {}, {"content": "7", "id": "c1"}),
        SpanEvent(
            "gen_ai.choice",
            {},
            {"index": 0, "finish_reason": "stop", "message": {"content": "Seven."}},
        ),
        SpanEvent("gen_ai.choice", {}, {"index": 1, "message": {"content": "Eight."}}),
    ]
    span = made_span({"gen_ai.operation.name": "chat", "gen_ai.system": "openai"}, events=events)

    call = genai_events.call(span)

    assert genai_events.matches(span)
    assert call.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Well?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "7", "tool_call_id": "c1"},
    )
    assert (call.answer, call.finish_reason, call.provider) == ("Seven.", "stop", "openai")
    assert call.unreplayable is None


def test_messages_are_json_in_events_of_the_span() -> None:
    said = {"gen_ai.event.content": json.dumps({"role": "user", "content": "Well?"})}
    choice = {"message": {"content": "Yes."}, "finish_reason": "stop", "index": 0}
    events = [
        SpanEvent("gen_ai.user.message", said),
        SpanEvent("gen_ai.choice", {"gen_ai.event.content": json.dumps(choice)}),
    ]

    call = genai_events.call(made_span({"gen_ai.system": "az.ai.inference"}, events=events))

    assert call.messages == ({"role": "user", "content": "Well?"},)
    assert call.answer == "Yes."


def test_events_without_their_content_are_said() -> None:
    events = [SpanEvent("gen_ai.user.message", {"gen_ai.system": "openai"})]

    call = genai_events.call(made_span({"gen_ai.operation.name": "chat"}, events=events))

    assert call.unreplayable == "message 1 was recorded without its content"
