"""Langfuse's SDK from version 3: `langfuse.observation.input`, `…output` and their kin.

A span of the type `generation` is a request (langfuse.com/integrations/native/opentelemetry). The
client that it puts in the place of OpenAI's writes the API's defaults where nothing was set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunegate.harness.telemetry.read.conventions._convention import (
    CallReading,
    Convention,
    value_of,
)
from tunegate.harness.telemetry.read.conventions._flattened import load_object
from tunegate.harness.telemetry.read.conventions._payloads import reply_answer
from tunegate.harness.telemetry.read.trace_types import Span

ORDER = 46
_PREFIX = "langfuse.observation."
_DEFAULTS = {
    "temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0,
    "max_tokens": "Infinity",
}  # fmt: skip
"""Placeholders of the SDK for a setting that was not given; none of them changes an answer."""
_REPLIES = {"role", "content", "choices", "tool_calls", "output", "generations", "kwargs"}


def matches(span: Span) -> bool:
    """Return whether the span is a generation."""
    return span.attributes.get(f"{_PREFIX}type") == "generation"


def _settings(attributes: Mapping[str, Any]) -> dict[str, Any]:
    settings = load_object(attributes.get(f"{_PREFIX}model.parameters"))
    return {name: value for name, value in settings.items() if value != _DEFAULTS.get(name)}


def _complete(reading: CallReading) -> None:
    """Add finish reason and cost; take an output in no known form as the answer."""
    reply = reading.reply[0] if isinstance(reading.reply, list) else reading.reply
    if not isinstance(reply, Mapping) or not _REPLIES & reply.keys():
        reading.answer = reply_answer(reading.attributes.get(f"{_PREFIX}output"))
    if reading.answer.finish_reason is None:
        reason = value_of(reading.attributes, f"{_PREFIX}metadata.finish_reason")
        reading.answer = replace(reading.answer, finish_reason=reason)
    total = value_of(reading.attributes, f"{_PREFIX}cost_details#total")
    reading.fields["cost"] = float(total) if total else None


call = Convention(
    name="langfuse",
    request=(f"{_PREFIX}input",),
    settings=(_settings,),
    single_settings={
        "response_format": f"{_PREFIX}metadata.response_format",
        "tool_choice": f"{_PREFIX}metadata.tool_choice",
    },
    reply=(f"{_PREFIX}output",),
    model=(f"{_PREFIX}model.name",),
    usage=(f"{_PREFIX}usage_details",),
    fix=_complete,
).call
