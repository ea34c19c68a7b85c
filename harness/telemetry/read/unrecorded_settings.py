"""Settings of requests that a recorder does not write, so that their absence says nothing.

OpenTelemetry's conventions have no attribute for a tool choice, an answer's schema or the effort of
reasoning. The others are what the recordings of tests/telemetry/read lost. Settings that neither a
case keeps nor change what an answer is like are not listed.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunegate.harness.telemetry.read.trace_types import ModelCall

_UNNAMED = ("tool_choice", "response_format", "reasoning_effort")
_BY_CONVENTION = {
    "genai": _UNNAMED, "genai-events": _UNNAMED, "openllmetry": _UNNAMED,
    "ai-sdk": ("reasoning_effort",),
}  # fmt: skip
_SAMPLING = ("temperature", "top_p", "max_tokens", "stop")
_BY_SCOPE = {
    "opentelemetry.instrumentation.openai.": ("stop",),
    "opentelemetry.instrumentation.anthropic": ("stop", "max_tokens"),
    "opentelemetry.instrumentation.langchain": ("stop",),
    "opentelemetry.instrumentation.llamaindex": _SAMPLING,
    "opentelemetry.instrumentation.openai_agents": _SAMPLING,
    "openinference.instrumentation.llama_index": (*_SAMPLING, *_UNNAMED),
    "openinference.instrumentation.openai_agents": ("stop",),
    "openinference.instrumentation.smolagents": ("tool_choice",),
    "com.anthropic.sdk": ("stop",),
    "langfuse-sdk": ("stop", "tool_choice"),
    "logfire.openai_agents": ("stop",),
    "pydantic-ai": ("stop",),
}
"""How the name of a recorder's scope begins → what it does not write."""
_LITELLM = ("litellm", "genai", ("stop",))
"""litellm's scope; the convention of its span around a request, alone where it streams."""
_WITHOUT_SCHEMA = {"type": "json_object"}


def unrecorded_settings(call: ModelCall) -> frozenset[str]:
    """Return the settings that the recorder of a call would not have written."""
    held = {k for k, v in call.parameters.items() if v != _WITHOUT_SCHEMA}
    return frozenset(_unwritten(call)) - held


def _unwritten(call: ModelCall) -> Iterator[str]:
    yield from _BY_CONVENTION.get(call.convention, ())
    for scope, names in _BY_SCOPE.items():
        if call.span.scope.startswith(scope):
            yield from names
    scope, convention, names = _LITELLM
    if (call.span.scope, call.convention) == (scope, convention):
        yield from names
