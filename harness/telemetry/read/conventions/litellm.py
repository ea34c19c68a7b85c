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

NAME = "litellm"
ORDER = 42
_SPAN = "raw_gen_ai_request"
_PREFIX = "llm."
_REPLY = {
    "choices", "content", "usage", "stop_reason", "stop_sequence", "role", "type", "output",
    "system_fingerprint", "status",
}  # fmt: skip
_LARGEST = {"messages", "input", "prompt", "system", "instructions", "tools"}


def matches(span: Span) -> bool:
    """Return whether the span is a raw request that holds what was asked."""
    return span.name == _SPAN and any(
        name in _payload(span) for name in ("messages", "input", "prompt")
    )


def call(span: Span) -> ModelCall:
    """Read a call from the request and the reply of a provider's API."""
    known = {name: load_python(value) for name, value in _payload(span).items()}
    kept = {name: value for name, value in known.items() if name not in _REPLY | _LARGEST}
    return assemble_call(
        span,
        NAME,
        request_transcript(known),
        known.get("tools"),
        parse_parameters(kept),
        reply_answer(known),
    )


def _payload(span: Span) -> dict[str, Any]:
    """Return the attributes without the provider in their names."""
    return {
        name.split(".", 2)[2]: value
        for name, value in span.attributes.items()
        if name.startswith(_PREFIX) and name.count(".") == 2
    }
