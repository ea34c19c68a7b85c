"""MLflow's autolog: the whole request in `mlflow.spanInputs`, the reply in `mlflow.spanOutputs`.

Spans of the types CHAT_MODEL and LLM are requests; every value is JSON
(mlflow.org/docs/latest/genai/tracing). The tool calls of a streamed reply are in its chunks alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tunegate.harness.telemetry.read.conventions._common import assemble_call, parse_parameters
from tunegate.harness.telemetry.read.conventions._flattened import load_json, load_object
from tunegate.harness.telemetry.read.conventions._messages import FirstAnswer
from tunegate.harness.telemetry.read.conventions._payloads import (
    join_deltas,
    reply_answer,
    reply_tokens,
    request_transcript,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

NAME = "mlflow"
ORDER = 48
_TYPES = ("CHAT_MODEL", "LLM")
_CHUNK = "mlflow.chunk.value"
_LARGEST = {"messages", "input", "prompt", "prompts"}


def matches(span: Span) -> bool:
    """Return whether the span is of a model's type and holds what was asked."""
    known = span.attributes
    return load_json(known.get("mlflow.spanType")) in _TYPES and "mlflow.spanInputs" in known


def call(span: Span) -> ModelCall:
    """Read a call from the request and the reply."""
    known = span.attributes
    request = load_json(known.get("mlflow.spanInputs"))
    given = load_object(request)
    settings = {name: value for name, value in given.items() if name not in _LARGEST}
    offered = given.get("tools") or known.get("mlflow.chat.tools")
    chosen = parse_parameters(settings)
    found = assemble_call(span, NAME, request_transcript(request), offered, chosen, _answer(span))
    model = load_json(known.get("mlflow.llm.model")) or given.get("model")
    usage = load_object(known.get("mlflow.chat.tokenUsage"))
    provider = load_json(known.get("mlflow.llm.provider"))
    return replace(
        found,
        model=model or found.model,
        provider=provider or found.provider,
        **reply_tokens(usage),
    )


def _answer(span: Span) -> FirstAnswer:
    found = reply_answer(load_json(span.attributes.get("mlflow.spanOutputs")))
    if found.calls or found.finish_reason != "tool_calls":
        return found
    return replace(found, calls=tuple(join_deltas([*_deltas(span)])))


def _deltas(span: Span) -> Iterator[Any]:
    """Yield the pieces of tool calls in the chunks of a stream."""
    for event in span.events:
        choices = load_object(event.attributes.get(_CHUNK)).get("choices") or [{}]
        yield from (choices[0].get("delta") or {}).get("tool_calls") or ()
