"""litellm's callback `otel`: the request as it was sent, in `llm.PROVIDER.*` of a span of its own.

The span `raw_gen_ai_request` is a child of `litellm_request`, whose OpenTelemetry attributes lack
most settings (docs.litellm.ai/docs/observability/opentelemetry_integration). Lists and objects are
as Python prints them. Of a streamed request it holds nothing.
"""

from __future__ import annotations

from typing import Any

from tunegate.harness.telemetry.read.conventions._common import assemble_call, parse_parameters
from tunegate.harness.telemetry.read.conventions._payloads import (
    load_python,
    reply_answer,
    request_transcript,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

ORDER = 42
_SPAN = "raw_gen_ai_request"
_REQUESTS = ("messages", "input", "prompt")


def matches(span: Span) -> bool:
    """Return whether the span is a raw request that holds what was asked."""
    return span.name == _SPAN and any(name in _REQUESTS for name in _payload(span))


def call(span: Span) -> ModelCall:
    """Read a call from the request and the reply of a provider's API."""
    payload = _payload(span)
    return assemble_call(
        span,
        "litellm",
        request_transcript(payload),
        payload.get("tools"),
        parse_parameters(payload),
        reply_answer(payload),
    )


def _payload(span: Span) -> dict[str, Any]:
    """Return the values of the attributes without the provider in their names."""
    return {
        name.split(".", 2)[2]: load_python(value)
        for name, value in span.attributes.items()
        if name.startswith("llm.") and name.count(".") == 2
    }
