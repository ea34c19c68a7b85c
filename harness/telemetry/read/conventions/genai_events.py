"""OpenTelemetry's GenAI conventions up to 1.36, with an event for every message.

`gen_ai.system.message`, `gen_ai.user.message`, `gen_ai.assistant.message`, `gen_ai.tool.message`
and `gen_ai.choice`: log records with the message as their body, or events of the span with it as
JSON in `gen_ai.event.content`, as Azure's clients write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.read.conventions import genai
from tunegate.harness.telemetry.read.conventions._common import assemble_call, request_parameters
from tunegate.harness.telemetry.read.conventions._flattened import load_json
from tunegate.harness.telemetry.read.conventions._messages import (
    FirstAnswer,
    MessageTranscript,
    message_answer,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span, SpanEvent

ORDER = 40
_ROLES = {
    "gen_ai.system.message": "system", "gen_ai.developer.message": "system",
    "gen_ai.user.message": "user", "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}  # fmt: skip
_CHOICE = "gen_ai.choice"


def matches(span: Span) -> bool:
    """Return whether a span that may be a call has an event that is a message."""
    return (
        a.INPUT_MESSAGES not in span.attributes
        and span.attributes.get(a.OPERATION, "chat") in ("chat", "text_completion")
        and any(event.name in _ROLES or event.name == _CHOICE for event in span.events)
    )


def call(span: Span) -> ModelCall:
    """Read a call whose messages are the events of its span, in their order."""
    transcript = MessageTranscript()
    answer = FirstAnswer()
    for event in span.events:
        if event.name in _ROLES:
            transcript.add(_body(event), _ROLES[event.name])
        elif event.name == _CHOICE and answer == FirstAnswer():
            answer = message_answer(_body(event))
    tools = span.attributes.get(genai.TOOLS)
    return assemble_call(
        span, "genai-events", transcript, tools, request_parameters(span.attributes), answer
    )


def _body(event: SpanEvent) -> Mapping[str, Any]:
    """Return the message; Azure's clients write it as JSON, LlamaIndex's as a text."""
    body = load_json(event.body or event.attributes.get("gen_ai.event.content"))
    return body if isinstance(body, Mapping) else {"content": body}
