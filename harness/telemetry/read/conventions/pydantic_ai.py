"""Pydantic AI: tools and the form of the answer in `model_request_parameters`.

Its messages are OpenTelemetry's, or OpenInference's too where that processor rewrites them
(ai.pydantic.dev/logfire).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.harness.telemetry.read.conventions._common import schema_format
from tunegate.harness.telemetry.read.conventions._convention import Convention
from tunegate.harness.telemetry.read.conventions._flattened import load_object
from tunegate.harness.telemetry.read.trace_types import Span

ORDER = 60
_PARAMETERS = "model_request_parameters"


def matches(span: Span) -> bool:
    """Return whether the span holds the parameters of a request."""
    return _PARAMETERS in span.attributes


def _tools(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    parameters = load_object(attributes[_PARAMETERS])
    return [
        {name: value for name, value in tool.items() if name != "kind"}
        for group in ("function_tools", "output_tools")
        for tool in parameters.get(group) or ()
    ]


def _answer_format(attributes: Mapping[str, Any]) -> dict[str, Any]:
    parameters = load_object(attributes[_PARAMETERS])
    if parameters.get("output_mode") != "native":
        return {}
    form = parameters["output_object"]
    return {"response_format": schema_format(form["json_schema"], form.get("name") or "answer")}


call = Convention(name="pydantic-ai", tools=(_tools,), settings=(_answer_format,)).call
