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
from tunegate.harness.telemetry.read.conventions._common import assemble_call, parse_parameters
from tunegate.harness.telemetry.read.conventions._flattened import (
    load_json,
    load_object,
    load_structure,
)
from tunegate.harness.telemetry.read.conventions._payloads import (
    reply_answer,
    reply_tokens,
    request_transcript,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

NAME = "langsmith"
ORDER = 47
_ASKED = {"messages", "input", "prompt", "prompts", "system", "instructions", "tools"}
_METADATA = "langsmith.metadata."
_SETTINGS = (
    "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "seed", "n",
    "frequency_penalty", "presence_penalty", "tool_choice", "response_format", "reasoning_effort",
    "reasoning", "web_search_options",
)  # fmt: skip


def matches(span: Span) -> bool:
    """Return whether the span is of the kind llm and holds what was asked."""
    known = span.attributes
    return known.get("langsmith.span.kind") == "llm" and "gen_ai.prompt" in known


def call(span: Span) -> ModelCall:
    """Read a call from the request and the reply."""
    known = span.attributes
    request = load_json(known["gen_ai.prompt"])
    given = load_object(request)
    further = load_object(known.get("langsmith.invocation_params"))
    settings = {k: v for k, v in {**_noted(known), **further, **given}.items() if k not in _ASKED}
    offered = given.get("tools") or further.get("tools") or known.get(genai.TOOLS)
    reply = load_json(known.get("gen_ai.completion"))
    found = assemble_call(
        span,
        NAME,
        request_transcript(request),
        offered,
        parse_parameters(settings),
        reply_answer(reply),
    )
    held = load_object(reply)
    usage = reply_tokens(held.get("usage") or held.get("usage_metadata") or {})
    failure = None if found.answer or found.answer_calls else _failure(span)
    if span.error is None and failure is not None:
        found = replace(found, span=replace(span, error=failure))
    model = further.get("model") or given.get("model") or known.get(f"{_METADATA}ls_model_name")
    provider = known.get(f"{_METADATA}ls_provider")
    return replace(
        found,
        model=model or found.model,
        provider=provider or found.provider,
        **{name: count for name, count in usage.items() if getattr(found, name) is None},
    )


def _noted(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in the metadata, where LangChain, whose mark is `_type`, wrote them."""
    if f"{_METADATA}_type" not in known:
        return {}
    held = {name: known.get(_METADATA + name) for name in _SETTINGS}
    return {name: load_structure(value) or value for name, value in held.items()}


def _failure(span: Span) -> str | None:
    """Return the exception of a call; the SDK writes it, and then that the call succeeded."""
    raised = (event.attributes for event in span.events if event.name == "exception")
    return next((str(one.get("exception.message", "")) for one in raised), None)
