"""LangSmith: the whole request in `gen_ai.prompt`, the whole reply in `gen_ai.completion`.

`langsmith.span.kind` is `llm`. Its SDK writes OpenTelemetry where LANGSMITH_OTEL_ENABLED is set;
runs that it lists are put into the same attributes. LangChain's settings are among the metadata of
the application, so only settings of OpenAI's API are taken from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunegate.harness.telemetry.read.conventions import genai
from tunegate.harness.telemetry.read.conventions._convention import CallReading, Convention
from tunegate.harness.telemetry.read.conventions._flattened import load_structure
from tunegate.harness.telemetry.read.trace_types import Span

ORDER = 47
_METADATA = "langsmith.metadata."
_SETTINGS = (
    "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "seed", "n",
    "frequency_penalty", "presence_penalty", "tool_choice", "response_format", "reasoning_effort",
    "reasoning", "web_search_options",
)  # fmt: skip


def matches(span: Span) -> bool:
    """Return whether the span is of the kind llm and holds what was asked."""
    is_call = span.attributes.get("langsmith.span.kind") == "llm"
    return is_call and "gen_ai.prompt" in span.attributes


def _langchain_settings(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in the metadata, where LangChain, whose mark is `_type`, wrote them."""
    if f"{_METADATA}_type" not in attributes:
        return {}
    settings = {name: attributes.get(_METADATA + name) for name in _SETTINGS}
    return {name: load_structure(value) or value for name, value in settings.items()}


def _note_failure(reading: CallReading) -> None:
    """Note the exception of a call; the SDK writes it, and then that the call succeeded."""
    answer, span = reading.answer, reading.span
    exceptions = [event.attributes for event in span.events if event.name == "exception"]
    if exceptions and span.error is None and not answer.text and not answer.calls:
        failure = str(exceptions[0].get("exception.message", ""))
        reading.span = replace(span, error=failure)


call = Convention(
    name="langsmith",
    request=("gen_ai.prompt",),
    tools=("gen_ai.prompt#tools", "langsmith.invocation_params#tools", genai.TOOLS),
    settings=(_langchain_settings, "langsmith.invocation_params", "gen_ai.prompt"),
    reply=("gen_ai.completion",),
    model=("langsmith.invocation_params#model", "gen_ai.prompt#model", f"{_METADATA}ls_model_name"),
    provider=(f"{_METADATA}ls_provider",),
    usage=("gen_ai.completion#usage", "gen_ai.completion#usage_metadata"),
    fix=_note_failure,
).call
