"""Logfire: whole requests and replies of OpenAI's agents, and settings of OpenAI's clients.

Agents over chat completions have `request_data`, whose last message is the answer, with
`model_config` and `output`; those over the Responses API `raw_input` and `response`, in earlier
versions `events` alone, which end with the answer. Spans of the clients hold settings in
`request_data` besides OpenTelemetry's attributes (logfire.pydantic.dev/docs/integrations/llms).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from tunegate.harness.telemetry.read.conventions._convention import Convention, structure, value_of
from tunegate.harness.telemetry.read.trace_types import Span

ORDER = 45
_ANSWERS = ("gen_ai.assistant.message", "gen_ai.choice")


def matches(span: Span) -> bool:
    """Return whether the span holds a request as Logfire writes it."""
    names = span.attributes.keys()
    is_agent = "response" in names and ("raw_input" in names or "events" in names)
    return span.scope.startswith("logfire") and ("request_data" in names or is_agent)


def _responses_request(attributes: Mapping[str, Any]) -> Any:
    """Return what the Responses API was asked."""
    if items := value_of(attributes, "raw_input"):
        return {"input": items, "instructions": value_of(attributes, "response#instructions")}
    events = value_of(attributes, "events") or []
    return events[: len(events) - len(_answer_events(attributes))]


def _answer_events(attributes: Mapping[str, Any]) -> list[Any]:
    """Return the events at the end that are the answer, in place of a raw request."""
    if value_of(attributes, "raw_input"):
        return []
    events = reversed(value_of(attributes, "events") or [])
    return [*takewhile(lambda event: event.get("event.name") in _ANSWERS, events)][::-1]


call = Convention(
    name="logfire",
    request=(_responses_request, structure("input"), structure("request_data")),
    tools=("request_data#tools", "response_data#tools", "response#tools"),
    settings=("request_data", "model_settings", "model_config"),
    reply=(
        _answer_events,
        structure("output"),
        "response_data#message",
        structure("response_data"),
        structure("response"),
    ),
).call
