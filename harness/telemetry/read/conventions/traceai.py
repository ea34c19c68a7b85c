"""traceAI (Future AGI): OpenInference's flattened messages under OpenTelemetry's names.

`gen_ai.input.messages.N.message.role`, `gen_ai.request.parameters`,
`gen_ai.tool.definitions.N.tool.json_schema`, and `gen_ai.span.kind`, which was `fi.span.kind` and
`llm.…` in its first versions (github.com/future-agi/traceAI, fi_types.py). What its messages lack,
such as the tool calls of LangChain's, is read from the reply in `output.value`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.read.conventions import genai
from tunegate.harness.telemetry.read.conventions._common import call_fields
from tunegate.harness.telemetry.read.conventions._convention import (
    REQUEST_SETTINGS,
    CallReading,
    Convention,
    first_value,
    structure,
)
from tunegate.harness.telemetry.read.conventions._flattened import load_object, load_structure
from tunegate.harness.telemetry.read.conventions._messages import FirstAnswer, message_answer
from tunegate.harness.telemetry.read.conventions._payloads import (
    join_deltas,
    load_python,
    reply_answer,
)
from tunegate.harness.telemetry.read.trace_types import Span

ORDER = 20
_PARAMETERS = ("llm.invocation_parameters", "gen_ai.request.parameters")
_MESSAGES = (f"{a.OUTPUT_MESSAGES}.*", structure(a.OUTPUT_MESSAGES), "llm.output_messages.*")
_KINDS = ("gen_ai.span.kind", "fi.span.kind")


def matches(span: Span) -> bool:
    """Return whether the span has the kind LLM."""
    return any(str(span.attributes.get(name)).upper() == "LLM" for name in _KINDS)


def _parse_message(message: Any, attributes: Mapping[str, Any]) -> Any:
    """Return a message; Hugging Face's have content in Python's repr."""
    inner = message.get("message") if isinstance(message, Mapping) else None
    if attributes.get(a.PROVIDER) != "huggingface" or not isinstance(inner, Mapping):
        return message
    content = inner.get("content")
    if content == "None":
        return {**inner, "content": None}
    if isinstance(content, str) and content.startswith("[{"):
        parts = load_python(content)
        if isinstance(parts, list) and all(isinstance(p, dict) and "type" in p for p in parts):
            return {**inner, "content": parts}
    return inner


def _complete(reading: CallReading) -> None:
    """Add the system prompt and the model, and take the whole reply, as messages lack parts."""
    parameters = load_object(first_value(reading.attributes, _PARAMETERS))
    reading.transcript.add_system(parameters.get("system"))
    reading.fields["model"] = call_fields(reading.attributes)["model"] or parameters.get("model")
    reply, answer = reading.reply, reading.answer
    messages = first_value(reading.attributes, _MESSAGES) or []
    deltas = load_structure(reading.attributes.get("huggingface.tool_calls"))
    if isinstance(reply, Mapping):
        whole = reply_answer(reply)
        reading.answer = whole if whole != FirstAnswer() else answer
    elif isinstance(deltas, list) and not answer.calls:
        reading.answer = FirstAnswer(answer.text, tuple(join_deltas(deltas)), "tool_calls")
    elif len(messages) > 1 and reading.settings.get("n") in (None, 1):
        # A thought of the Responses API is listed as a text before the answer's.
        said = [message_answer(message) for message in messages]
        text = next((turn.text for turn in reversed(said) if turn.text), None)
        reading.answer = FirstAnswer(text, tuple(made for turn in said for made in turn.calls))
    elif answer == FirstAnswer():
        reading.answer = reply_answer(reading.attributes.get("output.value"))


call = Convention(
    name="traceai",
    request=(f"{a.INPUT_MESSAGES}.*", structure(a.INPUT_MESSAGES), "llm.input_messages.*"),
    tools=(
        f"{genai.TOOLS}.*",
        genai.TOOLS,
        "llm.tools.*",
        "huggingface.tools",
        *(f"{name}#tools" for name in _PARAMETERS),
    ),
    single_settings={"tool_choice": "huggingface.tool_choice"},
    settings=(REQUEST_SETTINGS, *_PARAMETERS),
    messages=_MESSAGES,
    reply=("output.value",),
    fix=_complete,
    message=_parse_message,
).call
