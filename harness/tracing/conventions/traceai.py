"""traceAI (Future AGI): OpenInference's flattened messages under OpenTelemetry's names.

`gen_ai.input.messages.N.message.role`, `gen_ai.request.parameters`,
`gen_ai.tool.definitions.N.tool.json_schema`, and `gen_ai.span.kind`, which was `fi.span.kind` and
`llm.…` in its first versions (github.com/future-agi/traceAI, fi_types.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.tracing import attributes as a
from harness.tracing.call import Call
from harness.tracing.conventions import genai
from harness.tracing.conventions._assembled import assembled
from harness.tracing.conventions._indexed import nested
from harness.tracing.conventions._json import structured
from harness.tracing.conventions._messages import Answer, Transcript, answer
from harness.tracing.conventions._parameters import parameters, request_parameters
from harness.tracing.span import Span

NAME = "traceai"
_KINDS = ("gen_ai.span.kind", "fi.span.kind")
_INPUT = (a.INPUT_MESSAGES, "llm.input_messages")
_OUTPUT = (a.OUTPUT_MESSAGES, "llm.output_messages")
_TOOLS = (genai.TOOLS, "llm.tools")
_PARAMETERS = ("gen_ai.request.parameters", "llm.invocation_parameters")


def matches(span: Span) -> bool:
    """Return whether the span says it is of the kind LLM."""
    return any(str(span.attributes.get(name)).upper() == "LLM" for name in _KINDS)


def call(span: Span) -> Call:
    """Read a call from flattened messages, or from a JSON of them."""
    known = span.attributes
    transcript = Transcript()
    for message in _listed(known, _INPUT):
        transcript.add(message)
    settings = next((s for n in _PARAMETERS if (s := structured(known.get(n)))), None)
    if isinstance(settings, Mapping) and settings.get("system"):
        transcript.add_system(settings["system"])
    every = request_parameters(known) | parameters(settings)
    return assembled(span, NAME, transcript, _offered(known), every, _answer(known))


def _listed(attributes: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    for name in names:
        found = nested(attributes, name) or structured(attributes.get(name))
        if isinstance(found, list) and found:
            return found
    return []


def _offered(attributes: Mapping[str, Any]) -> Any:
    return _listed(attributes, _TOOLS)


def _answer(attributes: Mapping[str, Any]) -> Answer:
    found = _listed(attributes, _OUTPUT)
    return answer(found[0]) if found else Answer()
