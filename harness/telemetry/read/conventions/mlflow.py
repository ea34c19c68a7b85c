"""MLflow's autolog: the whole request in `mlflow.spanInputs`, the reply in `mlflow.spanOutputs`.

Spans of the types CHAT_MODEL and LLM are requests; every value is JSON
(mlflow.org/docs/latest/genai/tracing). The tool calls of a streamed reply are in its chunks alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunegate.harness.telemetry.read.conventions._convention import (
    CallReading,
    Convention,
    value_of,
)
from tunegate.harness.telemetry.read.conventions._flattened import load_object
from tunegate.harness.telemetry.read.conventions._payloads import join_deltas
from tunegate.harness.telemetry.read.trace_types import Span

ORDER = 48


def matches(span: Span) -> bool:
    """Return whether the span is of a model's type and holds what was asked."""
    is_model = value_of(span.attributes, "mlflow.spanType") in ("CHAT_MODEL", "LLM")
    return is_model and "mlflow.spanInputs" in span.attributes


def _add_streamed_calls(reading: CallReading) -> None:
    if reading.answer.finish_reason != "tool_calls" or reading.answer.calls:
        return
    deltas: list[Any] = []
    for event in reading.span.events:
        chunk = load_object(event.attributes.get("mlflow.chunk.value"))
        choices = chunk.get("choices") or [{}]
        deltas += (choices[0].get("delta") or {}).get("tool_calls") or ()
    reading.answer = replace(reading.answer, calls=tuple(join_deltas(deltas)))


call = Convention(
    name="mlflow",
    request=("mlflow.spanInputs",),
    tools=("mlflow.spanInputs#tools", "mlflow.chat.tools"),
    settings=("mlflow.spanInputs",),
    reply=("mlflow.spanOutputs",),
    model=("mlflow.llm.model", "mlflow.spanInputs#model"),
    provider=("mlflow.llm.provider",),
    usage=("mlflow.chat.tokenUsage",),
    fix=_add_streamed_calls,
).call
