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
from tunegate.harness.telemetry.read.conventions._common import assemble_call, request_parameters
from tunegate.harness.telemetry.read.conventions._flattened import load_structure
from tunegate.harness.telemetry.read.conventions._messages import (
    FirstAnswer,
    MessageTranscript,
    answer_of,
    message_answer,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

NAME = "genai"
ORDER = 50
DETAILS = "gen_ai.client.inference.operation.details"
SYSTEM = "gen_ai.system_instructions"
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


def call(span: Span) -> ModelCall:
    """Read a call from the attributes of its span and of its details event."""
    known = merge_details(span)
    transcript = read_messages(known.get(a.INPUT_MESSAGES))
    transcript.add_system(_parts(known.get(SYSTEM)))
    settings = request_parameters(known)
    answered = first_answer(known.get(a.OUTPUT_MESSAGES), settings.get("n"))
    return assemble_call(span, NAME, transcript, known.get(TOOLS), settings, answered)


def merge_details(span: Span) -> Mapping[str, Any]:
    """Return the span's attributes and, before them, those of its details events."""
    details = [event.attributes for event in span.events if event.name == DETAILS]
    known: dict[str, Any] = {}
    for attributes in (*details, span.attributes):
        known |= attributes
    return known


def read_messages(value: Any) -> MessageTranscript:
    """Return the messages of a list, or of its JSON."""
    transcript = MessageTranscript()
    found = load_structure(value)
    for message in found or ():
        transcript.add(message)
    if found is None and isinstance(value, str) and value:
        transcript.add(value)
        transcript.obstacles.append(f"{a.INPUT_MESSAGES} is not JSON, as if it was cut off")
    return transcript


def first_answer(value: Any, choices: Any = None) -> FirstAnswer:
    """Return the first of `choices` answers in a list of output messages, or in its JSON."""
    found = load_structure(value)
    if isinstance(found, list | tuple):
        return answer_of(found, choices)
    return message_answer(found if found is not None else value)


def _parts(value: Any) -> Any:
    found = load_structure(value)
    return value if found is None else found
