"""Google's ADK: the request and the reply in Gemini's form, on the spans `call_llm`.

`gcp.vertex.agent.llm_request` and `…llm_response` are JSON (google/adk/telemetry, trace_call_llm).
ADK leaves out images and files without a sign, and the schema of an answer; of a streamed answer it
writes the last event alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tunegate.harness.telemetry.read.conventions._common import (
    assemble_call,
    parse_parameters,
    schema_format,
)
from tunegate.harness.telemetry.read.conventions._flattened import dump_text, load_object
from tunegate.harness.telemetry.read.conventions._messages import (
    FirstAnswer,
    MessageTranscript,
    message_answer,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

ORDER = 49
_REQUEST = "gcp.vertex.agent.llm_request"
_RESPONSE = "gcp.vertex.agent.llm_response"
_SETTINGS = (
    "temperature", "top_p", "top_k", "max_output_tokens", "stop_sequences", "seed",
    "presence_penalty", "frequency_penalty", "candidate_count", "thinking_config",
)  # fmt: skip
_CHOICES = {"AUTO": "auto", "ANY": "required", "NONE": "none"}
_SCHEMA_KEYS = {
    "any_of": "anyOf", "min_items": "minItems", "max_items": "maxItems",
    "min_length": "minLength", "max_length": "maxLength",
}  # fmt: skip


def matches(span: Span) -> bool:
    """Return whether the span holds a request; those of tools hold an empty one."""
    return bool(load_object(span.attributes.get(_REQUEST)))


def call(span: Span) -> ModelCall:
    """Read a call from Gemini's request and reply."""
    request = load_object(span.attributes[_REQUEST])
    config = load_object(request.get("config"))
    calls = _GeminiCalls()
    transcript = MessageTranscript()
    for content in request.get("contents") or ():
        transcript.add(calls.message(content))
    system = config.get("system_instruction")
    transcript.add_system(system.get("parts") if isinstance(system, Mapping) else system)
    offered = [*_tools(config.get("tools") or ())]
    answer = _answer(load_object(span.attributes.get(_RESPONSE)))
    return assemble_call(span, "adk", transcript, offered, _settings(config), answer)


@dataclass(slots=True)
class _GeminiCalls:
    """Tool calls of a conversation, with an id for each where Gemini has names alone."""

    made: int = 0
    unanswered: list[tuple[str, str]] = field(default_factory=list)
    """Name and id of each call without an id of Gemini's."""

    def message(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return a content as a message with typed parts."""
        parts = [self._part(part) for part in content.get("parts") or ()]
        return {"role": content.get("role") or "user", "content": parts}

    def _part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(part.get("text"), str):
            return {"type": "reasoning" if part.get("thought") else "text", "text": part["text"]}
        if made := part.get("function_call"):
            return {"type": "function_call", "id": self._new_id(made), **made}
        if said := part.get("function_response"):
            call_id = said.get("id") or self._answered_id(said.get("name"))
            text = dump_text(said.get("response"))
            return {"type": "tool_call_response", "id": call_id, "response": text}
        if "executable_code" in part:
            return {"type": "server_tool_use", "name": "code_execution"}
        return {"type": next(iter(part), "empty"), **part}

    def _new_id(self, made: Mapping[str, Any]) -> str:
        self.made += 1
        self.unanswered.append((str(made.get("name")), f"call_{self.made}"))
        return f"call_{self.made}"

    def _answered_id(self, name: Any) -> str | None:
        for at, (called, known) in enumerate(self.unanswered):
            if called == name:
                del self.unanswered[at]
                return known
        return None


def _answer(reply: Mapping[str, Any]) -> FirstAnswer:
    content = reply.get("content")
    if not isinstance(content, Mapping):
        return FirstAnswer()
    answer = message_answer(_GeminiCalls().message(content))
    ended = str(reply.get("finish_reason") or "").lower() or None
    searched = load_object(reply.get("grounding_metadata")).get("web_search_queries")
    return replace(
        answer,
        finish_reason="tool_calls" if answer.calls else ended,
        ran=answer.ran or ("google_search" if searched else None),
    )


def _tools(groups: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the definitions in a list of tools; those that Gemini runs have a name of their own."""
    for group in groups:
        for name, held in group.items():
            if name != "function_declarations":
                yield {"type": name}
            for function in held if name == "function_declarations" else ():
                schema = function.get("parameters_json_schema") or function.get("parameters")
                yield {**function, "parameters": _json_schema(schema)}


def _json_schema(schema: Any) -> Any:
    """Return Gemini's schema, whose types are in capitals, as a JSON schema."""
    if isinstance(schema, list):
        return [_json_schema(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    converted: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "type" and isinstance(value, str):
            converted[name] = value.lower()
        elif name == "properties":
            converted[name] = {key: _json_schema(inner) for key, inner in value.items()}
        elif name != "property_ordering":
            converted[_SCHEMA_KEYS.get(str(name), str(name))] = _json_schema(value)
    return converted


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    raw = {name: config.get(name) for name in _SETTINGS}
    calling = load_object(load_object(config.get("tool_config")).get("function_calling_config"))
    raw["tool_choice"] = _CHOICES.get(str(calling.get("mode")))
    settings = parse_parameters(raw)
    if isinstance(schema := config.get("response_json_schema"), Mapping):
        settings["response_format"] = schema_format(schema)
    elif config.get("response_mime_type") == "application/json":
        settings["response_format"] = {"type": "json_object"}
    return settings
