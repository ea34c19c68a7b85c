"""Vercel's AI SDK: `ai.prompt.messages` and `ai.response.*` on the spans of its requests.

Up to version 6 `ai.generateText.doGenerate` and `ai.streamText.doStream` are the requests, and
`ai.generateObject` around one holds the schema that it asked for. Version 7 writes OpenTelemetry's
conventions through `@ai-sdk/otel` (ai-sdk.dev/docs/ai-sdk-core/telemetry).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tunegate.harness.telemetry.read.conventions._common import (
    assemble_call,
    parse_parameters,
    request_parameters,
    schema_format,
)
from tunegate.harness.telemetry.read.conventions._flattened import (
    dump_javascript,
    load_json,
    load_structure,
)
from tunegate.harness.telemetry.read.conventions._messages import (
    FirstAnswer,
    MessageTranscript,
    tool_calls,
)
from tunegate.harness.telemetry.read.conventions._payloads import request_transcript
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

NAME = "ai-sdk"
ORDER = 44
_OPERATION = "ai.operationId"
_REQUESTS = (".doGenerate", ".doStream")
_OBJECTS = ("ai.generateObject", "ai.streamObject")
_SETTINGS = "ai.settings."
_CLIENT = ("maxRetries", "output", "mode", "context")
"""Settings of the SDK and not of the request."""
_RENAMED = {
    "toolCallId": "id", "toolName": "name", "mediaType": "mime_type", "mimeType": "mime_type",
}  # fmt: skip
_CAPITAL = re.compile("([A-Z])")


def matches(span: Span) -> bool:
    """Return whether the span is a request, or the object around one."""
    operation = str(span.attributes.get(_OPERATION))
    return operation.endswith(_REQUESTS) or operation in _OBJECTS


def call(span: Span) -> ModelCall:
    """Read a call from the prompt as the provider got it."""
    known = span.attributes
    messages = load_structure(known.get("ai.prompt.messages"))
    if messages is None:
        transcript = request_transcript(load_structure(known.get("ai.prompt")))
    else:
        transcript = MessageTranscript()
        for message in messages:
            transcript.add(_plain_message(message))
    own = {
        _CAPITAL.sub(r"_\1", name.removeprefix(_SETTINGS)).lower(): value
        for name, value in known.items()
        if name.startswith(_SETTINGS) and name.removeprefix(_SETTINGS) not in _CLIENT
    }
    own["tool_choice"] = known.get("ai.prompt.toolChoice")
    settings = request_parameters(known) | parse_parameters(own)
    schema = load_structure(known.get("ai.schema"))
    if isinstance(schema, Mapping):
        schema = {name: value for name, value in schema.items() if name != "$schema"}
        named = known.get("ai.schema.name")
        settings["response_format"] = schema_format(schema, named or "response")
    return assemble_call(
        span, NAME, transcript, known.get("ai.prompt.tools"), settings, _answer(known)
    )


def _plain_message(message: Any) -> Any:
    content = message.get("content") if isinstance(message, Mapping) else None
    return (
        {**message, "content": [*map(_plain_part, content)]}
        if isinstance(content, list)
        else message
    )


def _plain_part(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    plain = {_RENAMED.get(name, name): value for name, value in part.items()}
    if isinstance(plain.get("input"), Mapping):
        plain["input"] = dump_javascript(plain["input"])
    return plain


def _answer(known: Mapping[str, Any]) -> FirstAnswer:
    text = known.get("ai.response.text", known.get("ai.response.object"))
    made = load_json(known.get("ai.response.toolCalls"))
    listed = made if isinstance(made, list) else []
    calls = tool_calls([_plain_part(one) for one in listed])
    if not isinstance(text, str):
        text = "" if calls else None
    return FirstAnswer(text, tuple(calls), known.get("ai.response.finishReason"))
