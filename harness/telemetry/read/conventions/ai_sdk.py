"""Vercel's AI SDK: `ai.prompt.messages` and `ai.response.*` on the spans of its requests.

Up to version 6 `ai.generateText.doGenerate` and `ai.streamText.doStream` are the requests, and
`ai.generateObject` around one holds the schema that it asked for. Version 7 writes OpenTelemetry's
conventions through `@ai-sdk/otel` (ai-sdk.dev/docs/ai-sdk-core/telemetry).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tunegate.harness.telemetry.read.conventions._common import schema_format
from tunegate.harness.telemetry.read.conventions._convention import (
    REQUEST_SETTINGS,
    CallReading,
    Convention,
    structure,
)
from tunegate.harness.telemetry.read.conventions._flattened import dump_javascript, load_structure
from tunegate.harness.telemetry.read.conventions._messages import FirstAnswer, tool_calls
from tunegate.harness.telemetry.read.trace_types import Span

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


def _settings(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _CAPITAL.sub(r"_\1", name.removeprefix(_SETTINGS)).lower(): value
        for name, value in attributes.items()
        if name.startswith(_SETTINGS) and name.removeprefix(_SETTINGS) not in _CLIENT
    }


def _plain_message(message: Any, attributes: Mapping[str, Any]) -> Any:
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list):
        return message
    return {**message, "content": [*map(_plain_part, content)]}


def _plain_part(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    plain = {_RENAMED.get(name, name): value for name, value in part.items()}
    if isinstance(plain.get("input"), Mapping):
        plain["input"] = dump_javascript(plain["input"])
    return plain


def _complete(reading: CallReading) -> None:
    """Add the answer, and the form that was asked for."""
    attributes = reading.attributes
    schema = load_structure(attributes.get("ai.schema"))
    if isinstance(schema, Mapping):
        schema = {name: value for name, value in schema.items() if name != "$schema"}
        name = attributes.get("ai.schema.name") or "response"
        reading.settings["response_format"] = schema_format(schema, name)
    text = attributes.get("ai.response.text", attributes.get("ai.response.object"))
    made = load_structure(attributes.get("ai.response.toolCalls")) or []
    calls = tuple(tool_calls([_plain_part(part) for part in made]))
    if not isinstance(text, str):
        text = "" if calls else None
    reading.answer = FirstAnswer(text, calls, attributes.get("ai.response.finishReason"))


call = Convention(
    name="ai-sdk",
    request=(structure("ai.prompt.messages"), structure("ai.prompt")),
    tools=("ai.prompt.tools",),
    single_settings={"tool_choice": "ai.prompt.toolChoice"},
    settings=(REQUEST_SETTINGS, _settings),
    message=_plain_message,
    fix=_complete,
).call
