"""OpenTelemetry's GenAI conventions, with the messages in attributes.

`gen_ai.input.messages`, `gen_ai.output.messages`, `gen_ai.system_instructions` and
`gen_ai.tool.definitions` are on the span, structured or as JSON, or on the event
`gen_ai.client.inference.operation.details` (semantic-conventions-genai, gen-ai-spans.md and
gen-ai-events.md). Calls without any content are read here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.read.conventions._convention import (
    REQUEST_SETTINGS,
    CallReading,
    Convention,
)
from tunegate.harness.telemetry.read.trace_types import Span

ORDER = 50
DETAILS = "gen_ai.client.inference.operation.details"
TOOLS = "gen_ai.tool.definitions"
_CALLS = ("chat", "text_completion", "generate_content", "completion")
"""Operations that ask a language model for text."""
_OTHERS = (
    "embeddings", "retrieval", "rerank", "execute_tool", "create_agent", "invoke_agent",
    "invoke_workflow", "agent", "plan", "create_thread", "generate_image", "speech",
    "transcription",
)  # fmt: skip
"""Operations that are no request for text, whatever they hold: an agent's messages are those of
several requests. Any other with messages is one: litellm's is `acompletion`."""


def matches(span: Span) -> bool:
    """Return whether the span is a request to a language model, by its operation or content."""
    operation = span.attributes.get(a.OPERATION)
    if operation in _CALLS:
        return True
    has_messages = a.INPUT_MESSAGES in span.attributes or any(
        event.name == DETAILS for event in span.events
    )
    return has_messages and operation not in _OTHERS


def _merge_details(span: Span) -> Mapping[str, Any]:
    """Return the span's attributes and, before them, those of its details events."""
    details = [event.attributes for event in span.events if event.name == DETAILS]
    merged: dict[str, Any] = {}
    for attributes in (*details, span.attributes):
        merged |= attributes
    return merged


def _note_cut_messages(reading: CallReading) -> None:
    if isinstance(reading.request, str):
        reading.transcript.obstacles.append(f"{a.INPUT_MESSAGES} is not JSON, as if it was cut off")


call = Convention(
    name="genai",
    attributes=_merge_details,
    request=(a.INPUT_MESSAGES,),
    system=("gen_ai.system_instructions",),
    tools=(TOOLS,),
    settings=(REQUEST_SETTINGS,),
    messages=(a.OUTPUT_MESSAGES,),
    fix=_note_cut_messages,
).call
