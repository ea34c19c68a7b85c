"""traceAI (Future AGI): OpenInference's flattened messages under OpenTelemetry's names.

`gen_ai.input.messages.N.message.role`, `gen_ai.request.parameters`,
`gen_ai.tool.definitions.N.tool.json_schema`, and `gen_ai.span.kind`, which was `fi.span.kind` and
`llm.…` in its first versions (github.com/future-agi/traceAI, fi_types.py). What its messages lack,
such as the tool calls of LangChain's, is read from the reply in `output.value`.
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
    answer_of,
    message_answer,
)
from tunegate.harness.telemetry.read.conventions._payloads import (
    join_deltas,
    load_python,
    reply_answer,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

NAME = "traceai"
ORDER = 20
_KINDS = ("gen_ai.span.kind", "fi.span.kind")
_INPUT = (a.INPUT_MESSAGES, "llm.input_messages")
_OUTPUT = (a.OUTPUT_MESSAGES, "llm.output_messages")
_TOOLS = (genai.TOOLS, "llm.tools", "huggingface.tools")
_PARAMETERS = ("gen_ai.request.parameters", "llm.invocation_parameters")


def matches(span: Span) -> bool:
    """Return whether the span has the kind LLM."""
    return any(str(span.attributes.get(name)).upper() == "LLM" for name in _KINDS)


def call(span: Span) -> ModelCall:
    """Read a call from flattened messages, or from a JSON of them."""
    known = span.attributes
    settings = next((s for name in _PARAMETERS if (s := load_object(known.get(name)))), {})
    transcript = MessageTranscript()
    for message in _first_list(known, _INPUT):
        _add(transcript, message, known)
    if settings.get("system"):
        transcript.add_system(settings["system"])
    chosen = {"tool_choice": known.get("huggingface.tool_choice")}
    every = parse_parameters(chosen) | request_parameters(known) | parse_parameters(settings)
    offered = _first_list(known, _TOOLS) or settings.get("tools")
    read = assemble_call(span, NAME, transcript, offered, every, _answer(known, every.get("n")))
    return replace(read, model=read.model or settings.get("model"))


def _first_list(attributes: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    for name in names:
        found = unflatten_attributes(attributes, name) or load_structure(attributes.get(name))
        if isinstance(found, list) and found:
            return found
    return []


def _add(transcript: MessageTranscript, message: Any, attributes: Mapping[str, Any]) -> None:
    """Add a message; Hugging Face's have content in Python's repr."""
    inner = message.get("message") if isinstance(message, Mapping) else None
    if attributes.get(a.PROVIDER) == "huggingface" and isinstance(inner, Mapping):
        content = inner.get("content")
        if content == "None":
            inner = {**inner, "content": None}
        elif isinstance(content, str) and content.startswith("[{"):
            inner = {**inner, "content": _parse_python_parts(content)}
        message = inner
    transcript.add(message)


def _parse_python_parts(content: str) -> Any:
    """Return the parts that Python printed; any other text as it is."""
    parts = load_python(content)
    is_parts = isinstance(parts, list) and all(isinstance(p, dict) and "type" in p for p in parts)
    return parts if is_parts else content


def _answer(attributes: Mapping[str, Any], choices: Any) -> FirstAnswer:
    """Return the answer from the whole reply if it was kept, as the messages lack parts."""
    reply = load_structure(attributes.get("output.value"))
    flat = _first_list(attributes, _OUTPUT)
    found = answer_of(flat, choices)
    if isinstance(reply, Mapping):
        whole = reply_answer(reply)
        return whole if whole != FirstAnswer() else found
    deltas = load_structure(attributes.get("huggingface.tool_calls"))
    if isinstance(deltas, list) and not found.calls:
        return FirstAnswer(found.text, tuple(join_deltas(deltas)), "tool_calls")
    if len(flat) > 1 and choices in (None, 1):
        # A thought of the Responses API is listed as a text before the answer's.
        said = [message_answer(one) for one in flat]
        text = next((one.text for one in reversed(said) if one.text), None)
        return FirstAnswer(text, tuple(call for one in said for call in one.calls))
    text = attributes.get("output.value")
    return FirstAnswer(text) if found == FirstAnswer() and isinstance(text, str) and text else found
