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
from tunegate.harness.telemetry.read.conventions._convention import (
    REQUEST_SETTINGS,
    CallReading,
    Convention,
    value_of,
)
from tunegate.harness.telemetry.read.conventions._flattened import load_object, load_structure
from tunegate.harness.telemetry.read.conventions._messages import FirstAnswer, message_answer
from tunegate.harness.telemetry.read.trace_types import Span

ORDER = 30
_KIND = "llm.request.type"
_CALLS = ("chat", "completion", "acompletion")
"""Types of requests; litellm writes the last one."""
_PROMPT = "gen_ai.prompt"
_COMPLETION = "gen_ai.completion"
_TOOLS = "llm.request.functions"
_ENTITY_INPUT = "traceloop.entity.input"
_ENTITY_OUTPUT = "traceloop.entity.output"


def matches(span: Span) -> bool:
    """Return whether the span is a call with indexed messages or tools, or one of LlamaIndex's."""
    kind = span.attributes.get(_KIND)
    if kind is not None and kind not in _CALLS:
        return False
    indexed = (f"{_PROMPT}.0.", f"{_COMPLETION}.0.", f"{_TOOLS}.0.")
    if any(name.startswith(indexed) for name in span.attributes):
        return True
    return genai.matches(span) and bool(_entity(span.attributes, _ENTITY_INPUT))


def _entity(attributes: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the arguments or the result of a LlamaIndex chat; empty for anything else."""
    entity = load_object(attributes.get(name))
    messages = entity.get("messages", [entity.get("message")])
    is_chat = all(isinstance(message, Mapping) and "blocks" in message for message in messages)
    return entity if is_chat else {}


def _parse_parts(message: Any, attributes: Mapping[str, Any]) -> Any:
    """Return the message with its parts, if its content is their JSON."""
    parts = load_structure(message.get("content"))
    is_parts = isinstance(parts, list) and all(
        isinstance(part, Mapping) and isinstance(part.get("type"), str) for part in parts
    )
    return {**message, "content": parts} if parts and is_parts else message


def _complete_answer(reading: CallReading) -> None:
    """Take the first completion that is not thoughts, and calls where others have them."""
    attributes = reading.attributes
    completions = value_of(attributes, f"{_COMPLETION}.*") or []
    if completions and all(set(completion) == {"function_call"} for completion in completions):
        # litellm numbers the calls of an answer as if each were a choice; the calls of several
        # choices overwrite each other, so nothing is known of any.
        if len(load_structure(attributes.get(a.OUTPUT_MESSAGES)) or ()) > 1:
            reading.answer = FirstAnswer()
            return
        calls = tuple(made for one in completions for made in message_answer(one).calls)
        reading.answer = replace(reading.answer, text=reading.answer.text or "", calls=calls)
        return
    for completion in completions:
        if completion.get("role") != "thinking":
            reading.answer = message_answer(_parse_parts(completion, attributes))
            break
    result = message_answer(_entity(attributes, _ENTITY_OUTPUT).get("message"))
    if result.calls and not reading.answer.calls:  # only LlamaIndex's result has them
        reading.answer = replace(result, finish_reason=reading.answer.finish_reason)


call = Convention(
    name="openllmetry",
    request=(lambda known: _entity(known, _ENTITY_INPUT).get("messages"), f"{_PROMPT}.*"),
    tools=(
        f"{_TOOLS}.*",
        genai.TOOLS,
        lambda known: _entity(known, _ENTITY_INPUT).get("kwargs", {}).get("tools"),
    ),
    single_settings={
        name: f"llm.{name}"
        for name in ("frequency_penalty", "presence_penalty", "top_k", "chat.stop_sequences")
    },
    settings=(REQUEST_SETTINGS,),
    messages=(a.OUTPUT_MESSAGES,),
    message=_parse_parts,
    fix=_complete_answer,
).call
