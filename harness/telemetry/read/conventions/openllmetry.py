"""OpenLLMetry (Traceloop): the indexed form of its older versions, and what its newer ones add.

Up to 0.54 it wrote `gen_ai.prompt.N.role`, `gen_ai.completion.N.content` and
`llm.request.functions.N.name`; since then it writes OpenTelemetry's attributes, which `genai` reads
(github.com/traceloop/openllmetry, semconv_ai). Of LlamaIndex the messages there lack tool calls;
its arguments in `traceloop.entity.input` have them. litellm writes its tools in the same names, and
the calls of one answer as `gen_ai.completion.N.function_call`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.read.conventions import genai
from tunegate.harness.telemetry.read.conventions._common import (
    assemble_call,
    parse_parameters,
    request_parameters,
)
from tunegate.harness.telemetry.read.conventions._flattened import (
    load_object,
    load_structure,
    unflatten_attributes,
)
from tunegate.harness.telemetry.read.conventions._messages import (
    FirstAnswer,
    MessageTranscript,
    message_answer,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

NAME = "openllmetry"
ORDER = 30
_KIND = "llm.request.type"
_CALLS = ("chat", "completion", "acompletion")
"""Types of requests; litellm writes the last one."""
_PROMPT = "gen_ai.prompt"
_COMPLETION = "gen_ai.completion"
_TOOLS = "llm.request.functions"
_ENTITY_INPUT = "traceloop.entity.input"
_ENTITY_OUTPUT = "traceloop.entity.output"
_SETTINGS = ("frequency_penalty", "presence_penalty", "top_k", "chat.stop_sequences")


def matches(span: Span) -> bool:
    """Return whether the span is a call with indexed messages or tools, or one of LlamaIndex's."""
    kind = span.attributes.get(_KIND)
    if kind is not None and kind not in _CALLS:
        return False
    indexed = (f"{_PROMPT}.0.", f"{_COMPLETION}.0.", f"{_TOOLS}.0.")
    if any(name.startswith(indexed) for name in span.attributes):
        return True
    return genai.matches(span) and bool(_entity(span.attributes, _ENTITY_INPUT))


def call(span: Span) -> ModelCall:
    """Read a call from indexed attributes, or from the arguments that LlamaIndex was given."""
    known = span.attributes
    entity = _entity(known, _ENTITY_INPUT)
    transcript = MessageTranscript()
    for message in entity.get("messages") or _indexed_list(known, _PROMPT):
        transcript.add(_parse_parts(message))
    own = {name: known[f"llm.{name}"] for name in _SETTINGS if f"llm.{name}" in known}
    settings = parse_parameters(own) | request_parameters(known)
    offered = unflatten_attributes(known, _TOOLS) or known.get(genai.TOOLS)
    offered = offered or entity.get("kwargs", {}).get("tools")
    return assemble_call(span, NAME, transcript, offered, settings, _answer(known))


def _entity(attributes: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the arguments or the result of a LlamaIndex chat; empty for anything else."""
    found = load_object(attributes.get(name))
    messages = found.get("messages", [found.get("message")])
    is_chat = all(isinstance(message, Mapping) and "blocks" in message for message in messages)
    return found if is_chat else {}


def _indexed_list(attributes: Mapping[str, Any], prefix: str) -> list[Any]:
    found = unflatten_attributes(attributes, prefix)
    # Azure's filter results are listed with the messages, and make the list an object.
    if isinstance(found, Mapping):
        found = [found[step] for step in sorted(filter(str.isdecimal, found), key=int)]
    return found or []


def _answer(attributes: Mapping[str, Any]) -> FirstAnswer:
    """Return the first completion that is not thoughts, which come before it."""
    completions = _indexed_list(attributes, _COMPLETION)
    if completions and all(set(one) == {"function_call"} for one in completions):
        return _litellm_answer(completions, attributes)
    for completion in completions:
        if completion.get("role") != "thinking":
            return _complete(message_answer(_parse_parts(completion)), attributes)
    return _complete(genai.first_answer(attributes.get(a.OUTPUT_MESSAGES)), attributes)


def _litellm_answer(completions: list[Any], attributes: Mapping[str, Any]) -> FirstAnswer:
    """Return an answer whose tool calls litellm numbers as if each were a choice.

    The calls of several choices overwrite each other, so nothing is known of any.
    """
    choices = load_structure(attributes.get(a.OUTPUT_MESSAGES)) or ()
    if len(choices) > 1:
        return FirstAnswer()
    said = genai.first_answer(choices)
    calls = tuple(call for one in completions for call in message_answer(one).calls)
    return replace(said, text=said.text or "", calls=calls)


def _complete(found: FirstAnswer, attributes: Mapping[str, Any]) -> FirstAnswer:
    """Return the answer with tool calls, which only LlamaIndex's result has."""
    result = message_answer(_entity(attributes, _ENTITY_OUTPUT).get("message"))
    if found.calls or not result.calls:
        return found
    return replace(result, finish_reason=found.finish_reason)


def _parse_parts(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the message with its parts, if its content is their JSON."""
    parts = load_structure(message.get("content"))
    if isinstance(parts, list) and parts and all(_is_part(part) for part in parts):
        return {**message, "content": parts}
    return message


def _is_part(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("type"), str)
