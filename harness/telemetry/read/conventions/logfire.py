"""Logfire: whole requests and replies of OpenAI's agents, and settings of OpenAI's clients.

Agents over chat completions have `request_data`, whose last message is the answer, with
`model_config` and `output`; those over the Responses API `raw_input` and `response`, in earlier
versions `events` alone, which end with the answer. Spans of the clients hold settings in
`request_data` besides OpenTelemetry's attributes (logfire.pydantic.dev/docs/integrations/llms).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.harness.telemetry.read.conventions._common import assemble_call, parse_parameters
from tunegate.harness.telemetry.read.conventions._flattened import load_object, load_structure
from tunegate.harness.telemetry.read.conventions._messages import (
    FirstAnswer,
    MessageTranscript,
    message_answer,
)
from tunegate.harness.telemetry.read.conventions._payloads import reply_answer, request_transcript
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

NAME = "logfire"
ORDER = 45
_SCOPE = "logfire"
_FURTHER = ("extra_body", "extra_args")
_LARGEST = {"messages", "input", "instructions", "tools"}
_ANSWERS = ("gen_ai.assistant.message", "gen_ai.choice")
_NOT_ASKED = {
    "include_usage",
    "response_include",
    "retry",
    "preserve_raw_usage",
    "prompt_cache_retention",
}


def matches(span: Span) -> bool:
    """Return whether the span holds a request as Logfire writes it."""
    held = span.attributes.keys()
    is_agent = "response" in held and ("raw_input" in held or "events" in held)
    return span.scope.startswith(_SCOPE) and ("request_data" in held or is_agent)


def call(span: Span) -> ModelCall:
    """Read a call from the JSON of its request and reply."""
    known = span.attributes
    request = load_object(known.get("request_data"))
    reply = load_object(known.get("response_data") or known.get("response"))
    answer = reply_answer(reply)
    if isinstance(message := reply.get("message"), Mapping):
        answer = message_answer(message)
    if "raw_input" in known or "events" in known:
        transcript, answer = _response(known, reply, answer)
    else:
        transcript = request_transcript(load_structure(known.get("input")) or request)
        output = load_structure(known.get("output"))
        answer = reply_answer(output) if output else answer
    settings = _settings(known, request)
    offered = request.get("tools") or reply.get("tools")
    return assemble_call(span, NAME, transcript, offered, settings, answer)


def _response(
    known: Mapping[str, Any], reply: Mapping[str, Any], answer: FirstAnswer
) -> tuple[MessageTranscript, FirstAnswer]:
    """Return what the Responses API was asked, and its answer."""
    asked = load_structure(known.get("raw_input"))
    if asked:
        return request_transcript(
            {"input": asked, "instructions": reply.get("instructions")}
        ), answer
    events = load_structure(known.get("events")) or []
    at = len(events)
    while at and events[at - 1].get("event.name") in _ANSWERS:
        at -= 1
    return request_transcript(events[:at]), reply_answer(events[at:]) if events[at:] else answer


def _settings(known: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    own = load_object(known.get("model_config") or known.get("model_settings"))
    further = [own.get(name) for name in _FURTHER]
    every = {
        k: v for one in (request, own, *further) if isinstance(one, Mapping) for k, v in one.items()
    }
    kept = {k: v for k, v in every.items() if k not in {*_LARGEST, *_FURTHER, *_NOT_ASKED}}
    return parse_parameters(kept)
