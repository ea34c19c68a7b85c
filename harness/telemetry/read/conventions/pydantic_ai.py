"""Pydantic AI: tools and the form of the answer in `model_request_parameters`.

Its messages are OpenTelemetry's, or OpenInference's too where that processor rewrites them
(ai.pydantic.dev/logfire).
"""

from __future__ import annotations

from tunegate.harness.telemetry.read.conventions._common import assemble_call, schema_format
from tunegate.harness.telemetry.read.conventions._flattened import load_object
from tunegate.harness.telemetry.read.conventions._messages import FirstAnswer, MessageTranscript
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

NAME = "pydantic-ai"
ORDER = 60
_PARAMETERS = "model_request_parameters"


def matches(span: Span) -> bool:
    """Return whether the span holds the parameters of a request."""
    return _PARAMETERS in span.attributes


def call(span: Span) -> ModelCall:
    """Read tools and the form of the answer; the messages are in other attributes."""
    known = load_object(span.attributes[_PARAMETERS])
    tools = [
        {name: value for name, value in tool.items() if name != "kind"}
        for group in ("function_tools", "output_tools")
        for tool in known.get(group) or ()
    ]
    settings = {}
    if known.get("output_mode") == "native":
        form = known["output_object"]
        settings["response_format"] = schema_format(
            form["json_schema"], form.get("name") or "answer"
        )
    return assemble_call(span, NAME, MessageTranscript(), tools, settings, FirstAnswer())
