"""OpenLLMetry (Traceloop): the indexed form of its older versions, and what its newer ones add.

Up to 0.5x it wrote `gen_ai.prompt.N.role`, `gen_ai.completion.N.content` and
`llm.request.functions.N.name`; since then it writes OpenTelemetry's attributes, with some of its
own beside them (github.com/traceloop/openllmetry, semconv_ai).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.tracing.call import Call
from harness.tracing.conventions._assembled import assembled
from harness.tracing.conventions._indexed import nested
from harness.tracing.conventions._json import structured
from harness.tracing.conventions._messages import Answer, Transcript, answer
from harness.tracing.conventions._parameters import parameters, request_parameters
from harness.tracing.span import Span

NAME = "openllmetry"
_KIND = "llm.request.type"
_CALLS = ("chat", "completion")
_PROMPT = "gen_ai.prompt"
_COMPLETION = "gen_ai.completion"
_SETTINGS = ("frequency_penalty", "presence_penalty", "top_k", "chat.stop_sequences")


def matches(span: Span) -> bool:
    """Return whether the span has an indexed message, and is no request of another kind."""
    kind = span.attributes.get(_KIND)
    if kind is not None and kind not in _CALLS:
        return False
    return any(name.startswith((f"{_PROMPT}.0.", f"{_COMPLETION}.0.")) for name in span.attributes)


def call(span: Span) -> Call:
    """Read a call from indexed attributes."""
    known = span.attributes
    transcript = Transcript()
    for message in _listed(known, _PROMPT):
        transcript.add(_with_parts(message))
    own = {name: known[f"llm.{name}"] for name in _SETTINGS if f"llm.{name}" in known}
    settings = parameters(own) | request_parameters(known)
    offered = nested(known, "llm.request.functions")
    return assembled(span, NAME, transcript, offered, settings, _answer(known))


def _listed(attributes: Mapping[str, Any], prefix: str) -> list[Any]:
    found = nested(attributes, prefix)
    # Azure's filter results stand beside the messages, and make the list an object.
    if isinstance(found, Mapping):
        found = [found[step] for step in sorted(filter(_is_index, found), key=int)]
    return found or []


def _is_index(step: str) -> bool:
    return step.isascii() and step.isdecimal() and len(step) < 7


def _answer(attributes: Mapping[str, Any]) -> Answer:
    """Return the first completion that is no thinking, which has one of its own before it."""
    for completion in _listed(attributes, _COMPLETION):
        if isinstance(completion, Mapping) and completion.get("role") != "thinking":
            return answer(_with_parts(completion))
    return Answer()


def _with_parts(message: Any) -> Any:
    """Return the message with the parts that its content is the JSON of, if it is that."""
    if not isinstance(message, Mapping):
        return message
    parts = structured(message.get("content"))
    if isinstance(parts, list) and parts and all(_is_part(part) for part in parts):
        return {**message, "content": parts}
    return message


def _is_part(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("type"), str)
