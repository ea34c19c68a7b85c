"""A case with its completion, of the gate or of production, as metrics read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.contracts.reasoning import without_thoughts
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.telemetry.read.trace_types import ModelCall, route_of


@dataclass(frozen=True, slots=True)
class AnsweredCase:
    """A case with its completion, of the gate or of production."""

    case: Case
    completion: Completion | None
    """None if the call failed, or a filter withheld the answer."""
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Those of the call's span and program; empty for a case of the gate."""


_WITHHELD = "content_filter"


def unit_of(call: ModelCall) -> str | None:
    """Return the unit in which a call counts: its conversation if it names one, else its trace."""
    if call.conversation is not None:
        return f"conversation {call.conversation}"
    return call.span.trace_id or None


def case_of_call(call: ModelCall) -> AnsweredCase:
    """Return a traced call as metrics read it."""
    case = Case(
        id=f"{call.span.trace_id}:{call.span.span_id}",
        messages=tuple(dict(message) for message in call.messages) or None,
        tools=tuple(dict(tool) for tool in call.tools) or None,
        cluster=unit_of(call),
        tags=_route_tags(call),
    )
    attributes = {**call.span.resource, **call.span.attributes}
    if call.span.error is not None or call.finish_reason == _WITHHELD:
        return AnsweredCase(case, None, attributes)
    said = {"batch_size": 1, "answered_by": call.model}
    completion = call.completion.model_copy(update=said)
    return AnsweredCase(case, without_thoughts(completion), attributes)


def _route_tags(call: ModelCall) -> tuple[str, ...]:
    route = route_of({**call.span.resource, **call.span.attributes})
    return (route,) if route else ()
