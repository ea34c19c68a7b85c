"""OpenInference, the convention of Phoenix: `llm.input_messages.N.message.role` and so on.

See github.com/Arize-ai/openinference, spec/semantic_conventions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunegate.harness.telemetry.read.conventions._common import parse_parameters
from tunegate.harness.telemetry.read.conventions._convention import (
    CallReading,
    Convention,
    structure,
    value_of,
)
from tunegate.harness.telemetry.read.conventions._flattened import (
    load_json,
    load_object,
    load_structure,
)
from tunegate.harness.telemetry.read.conventions._messages import LastingObstacle, MessageTranscript
from tunegate.harness.telemetry.read.conventions._payloads import reply_answer, request_transcript
from tunegate.harness.telemetry.read.trace_types import Span

ORDER = 10


def matches(span: Span) -> bool:
    """Return whether the span has the kind LLM."""
    return str(span.attributes.get("openinference.span.kind")).upper() == "LLM"


def _reply(attributes: Mapping[str, Any]) -> Any:
    """Return the whole reply; a text is one of text completions only."""
    value = load_json(attributes.get("output.value"))
    return None if isinstance(value, str) and "llm.prompts" not in attributes else value


def _complete(reading: CallReading) -> None:
    """Add what messages and parameters lack from the whole request and reply."""
    transcript = reading.transcript
    request = load_structure(reading.attributes.get("input.value"))
    # Agents' messages lack images and files.
    if not any(isinstance(obstacle, LastingObstacle) for obstacle in transcript.obstacles):
        obstacles = request_transcript(request).obstacles
        transcript.obstacles += [o for o in obstacles if isinstance(o, LastingObstacle)]
    if reading.span.scope == "openinference.instrumentation.smolagents":
        _join_turns(transcript)
        # Arguments of a request, and not of its model.
        names = ("stop_sequences", "response_format")
        arguments = {name: load_object(request).get(name) for name in names}
        reading.settings |= parse_parameters(arguments)
    # Anthropic's system prompt is a parameter.
    if not any(message["role"] == "system" for message in transcript.messages):
        transcript.add_system(value_of(reading.attributes, "llm.invocation_parameters#system"))
    # Messages of the Responses API lack the reason, and all of them what the provider ran.
    answer, whole = reading.answer, reply_answer(reading.reply)
    reason = answer.finish_reason or whole.finish_reason
    reading.answer = replace(answer, finish_reason=reason, ran=answer.ran or whole.ran)


def _join_turns(transcript: MessageTranscript) -> None:
    """Join successive texts of one role, as smolagents does before it asks."""
    joined: list[dict[str, Any]] = []
    for message in transcript.messages:
        before = joined[-1] if joined else {}
        is_plain = before.keys() == message.keys() == {"role", "content"}
        if is_plain and before["role"] == message["role"]:
            before["content"] += "\n" + message["content"]
        else:
            joined.append(message)
    transcript.messages = joined


call = Convention(
    name="openinference",
    request=("llm.input_messages.*", structure("llm.prompts"), "llm.prompts.*"),
    tools=("llm.tools.*",),
    settings=("llm.invocation_parameters",),
    messages=("llm.output_messages.*", "llm.choices.*"),
    reply=(_reply,),
    fix=_complete,
).call
