"""OpenInference, the convention of Phoenix: `llm.input_messages.N.message.role` and so on.

See github.com/Arize-ai/openinference, spec/semantic_conventions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunegate.harness.telemetry.read.conventions._common import assemble_call, parse_parameters
from tunegate.harness.telemetry.read.conventions._flattened import (
    load_object,
    load_structure,
    unflatten_attributes,
)
from tunegate.harness.telemetry.read.conventions._messages import (
    FirstAnswer,
    LastingObstacle,
    MessageTranscript,
    answer_of,
)
from tunegate.harness.telemetry.read.conventions._payloads import reply_answer, request_transcript
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

NAME = "openinference"
ORDER = 10
_KIND = "openinference.span.kind"
_PARAMETERS = "llm.invocation_parameters"
_SMOLAGENTS = "openinference.instrumentation.smolagents"
_ASKED = ("stop_sequences", "response_format")
"""Settings of smolagents that are arguments of a request, and not of its model."""


def matches(span: Span) -> bool:
    """Return whether the span has the kind LLM."""
    return str(span.attributes.get(_KIND)).upper() == "LLM"


def call(span: Span) -> ModelCall:
    """Read a call of a chat or, with `llm.prompts`, of a text completion."""
    known = span.attributes
    transcript = MessageTranscript()
    for message in unflatten_list(known, "llm.input_messages") or _prompts(known):
        transcript.add(message)
    request = load_structure(known.get("input.value"))
    _add_media(transcript, request)
    settings = load_object(known.get(_PARAMETERS))
    if span.scope == _SMOLAGENTS:
        _join_turns(transcript)
        settings = {**settings, **{name: load_object(request).get(name) for name in _ASKED}}
    if "system" in settings:
        _add_system(transcript, settings["system"])
    chosen = parse_parameters(settings)
    answered = _answer(known, chosen.get("n"))
    return assemble_call(
        span, NAME, transcript, unflatten_attributes(known, "llm.tools"), chosen, answered
    )


def unflatten_list(attributes: Mapping[str, Any], prefix: str) -> list[Any]:
    """Return the list that is flattened below a prefix; empty without one."""
    return unflatten_attributes(attributes, prefix) or []


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


def _add_system(transcript: MessageTranscript, system: Any) -> None:
    """Add Anthropic's system prompt, a parameter, if no message holds it."""
    if not any(message["role"] == "system" for message in transcript.messages):
        transcript.add_system(system)


def _add_media(transcript: MessageTranscript, request: Any) -> None:
    """Add images and files from the whole request; agents' messages lack them."""
    if any(isinstance(one, LastingObstacle) for one in transcript.obstacles):
        return
    whole = request_transcript(request)
    transcript.obstacles += [one for one in whole.obstacles if isinstance(one, LastingObstacle)]


def _prompts(attributes: Mapping[str, Any]) -> list[Any]:
    prompts = unflatten_list(attributes, "llm.prompts")
    if listed := load_structure(attributes.get("llm.prompts")):  # LlamaIndex's
        return [{"role": "user", "content": text} for text in listed]
    return [{"role": "user", "content": one["prompt"]["text"]} for one in prompts]


def _answer(attributes: Mapping[str, Any], choices: Any) -> FirstAnswer:
    found = unflatten_list(attributes, "llm.output_messages")
    if found:
        said = answer_of(found, choices)
        whole = reply_answer(_reply(attributes))
        reason = said.finish_reason or _finish_reason(attributes)
        return replace(said, finish_reason=reason, ran=said.ran or whole.ran)
    completions = unflatten_list(attributes, "llm.choices")
    if completions:
        return FirstAnswer(completions[0]["completion"]["text"])
    if "llm.prompts" in attributes:
        return FirstAnswer(attributes.get("output.value"), (), attributes.get("llm.finish_reason"))
    # Of a stream of OpenAI's agents the whole reply is all that is kept.
    return reply_answer(_reply(attributes))


def _reply(attributes: Mapping[str, Any]) -> Any:
    """Return the whole reply; of a list of replies the first."""
    reply = load_structure(attributes.get("output.value"))
    return reply[0] if isinstance(reply, list) and reply else reply


def _finish_reason(attributes: Mapping[str, Any]) -> str | None:
    """Return why an answer of OpenAI's Responses API ended, from its whole reply."""
    reply = _reply(attributes)
    is_response = isinstance(reply, Mapping) and reply.get("object") == "response"
    return reply_answer(reply).finish_reason if is_response else None
