"""Langfuse's SDK from version 3: `langfuse.observation.input`, `…output` and their kin.

A span of the type `generation` is a request (langfuse.com/integrations/native/opentelemetry). The
client that it puts in the place of OpenAI's writes the API's defaults where nothing was set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunegate.harness.telemetry.read.conventions._common import assemble_call, parse_parameters
from tunegate.harness.telemetry.read.conventions._flattened import (
    load_json,
    load_object,
    load_structure,
)
from tunegate.harness.telemetry.read.conventions._messages import FirstAnswer
from tunegate.harness.telemetry.read.conventions._payloads import (
    reply_answer,
    reply_tokens,
    request_transcript,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

NAME = "langfuse"
ORDER = 46
_OWN = "langfuse.observation."
_METADATA = f"{_OWN}metadata."
_DEFAULTS = {
    "temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0,
    "max_tokens": "Infinity",
}  # fmt: skip
"""Placeholders of the SDK for a setting that was not given; none of them changes an answer."""
_REPLIES = {"role", "content", "choices", "tool_calls", "output", "generations", "kwargs"}


def matches(span: Span) -> bool:
    """Return whether the span is a generation."""
    return span.attributes.get(f"{_OWN}type") == "generation"


def call(span: Span) -> ModelCall:
    """Read a generation; its input is a list of messages, a request or a prompt."""
    known = span.attributes
    asked = load_json(known.get(f"{_OWN}input"))
    request = load_object(asked)
    settings = parse_parameters(_settings(known))
    for name in ("response_format", "tool_choice"):
        held = load_json(known.get(f"{_METADATA}{name}"))
        if held is not None:
            settings |= parse_parameters({name: held})
    offered = request.get("tools") or request.get("functions")
    answer = _answer(known.get(f"{_OWN}output"))
    reason = load_json(known.get(f"{_METADATA}finish_reason"))
    if answer.finish_reason is None:
        answer = replace(answer, finish_reason=reason)
    found = assemble_call(span, NAME, request_transcript(asked), offered, settings, answer)
    total = load_object(known.get(f"{_OWN}cost_details")).get("total")
    return replace(
        found,
        model=known.get(f"{_OWN}model.name") or found.model,
        cost=float(total) if total else found.cost,
        **reply_tokens(load_object(known.get(f"{_OWN}usage_details"))),
    )


def _settings(known: Mapping[str, Any]) -> dict[str, Any]:
    given = load_object(known.get(f"{_OWN}model.parameters"))
    return {name: value for name, value in given.items() if value != _DEFAULTS.get(name)}


def _answer(output: Any) -> FirstAnswer:
    """Return the answer of a reply or message; any other text is the answer itself."""
    found = load_structure(output)
    if isinstance(found, list) and found:
        found = found[0]
    if isinstance(found, Mapping) and _REPLIES & found.keys():
        return reply_answer(found)
    return reply_answer(output)
