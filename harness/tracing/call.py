"""The call contract: one request to a language model, as a trace recorded it.

A convention is a module `harness/tracing/conventions/<x>.py` with `NAME`, `matches(span)`, which
says whether the span is a model call written in its attributes, and `call(span)`, which reads it.
`harness.tracing.calls` asks the conventions in a fixed order and yields every call it finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.tracing.span import Span


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a model with what came back, in the form of OpenAI's chat messages."""

    span: Span
    """Where it was read."""
    convention: str
    """Name of the convention that read it."""
    messages: tuple[Mapping[str, Any], ...]
    """What was sent: `role` and `content` (a text), with `tool_calls`, `tool_call_id` and `name`
    where there are some; a system prompt comes first, with the role `system`."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Tool definitions that were offered: `{"type": "function", "function": {…}}`."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the request under OpenAI's names: `temperature`, `top_p`, `max_tokens`, `seed`,
    `stop`, `frequency_penalty`, `presence_penalty`, `tool_choice`, `response_format` …"""
    answer: str | None = None
    """The text of the first answer; None where the trace does not hold it."""
    answer_calls: tuple[Mapping[str, Any], ...] = ()
    """Tool calls of the first answer: `{"type": "function", "function": {"name", "arguments"}}`,
    with `arguments` as the JSON text that the model wrote."""
    finish_reason: str | None = None
    """`stop`, `length`, `tool_calls` or what the provider said."""
    model: str | None = None
    """The model that was asked for."""
    provider: str | None = None
    """`openai`, `anthropic` …"""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    """Price in US dollars, where the trace holds it."""
    unreplayable: str | None = None
    """Why it cannot be asked again (`an image in message 2`, `no content was captured`)."""

    @property
    def latency_s(self) -> float:
        """Seconds from the call's start to its end."""
        return max(self.span.end_s - self.span.start_s, 0.0)
