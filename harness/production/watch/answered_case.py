"""A case with its completion, of the gate or of production, as metrics read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.contracts.reasoning import without_thoughts
from tunegate.harness.records.answers import Completion, reported_amount
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


_ENDED = {"stop", "end_turn", "stop_sequence", "eos", "eos_token", "tool_calls", "tool_use",
          "tool_call", "function_call"}  # fmt: skip
_CUT = {"length", "max_tokens", "max_output_tokens"}
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
    reason = _finish_reason(call.finish_reason)
    known = {**call.span.resource, **call.span.attributes}
    if call.span.error is not None or reason == _WITHHELD:
        return AnsweredCase(case, None, known)
    completion = Completion(
        text=call.answer_text,
        finish_reason=reason,
        input_tokens=reported_amount(call.input_tokens),
        output_tokens=reported_amount(call.output_tokens),
        latency_s=reported_amount(call.latency_s),
        batch_size=1,
        cost=reported_amount(call.cost),
        answered_by=call.model,
    )
    return AnsweredCase(case, without_thoughts(completion), known)


def _finish_reason(said: str | None) -> str | None:
    """Return `stop` and `length` for what providers call them."""
    word = said.lower() if said else said
    if word in _ENDED:
        return "stop"
    return "length" if word in _CUT else word


def _route_tags(call: ModelCall) -> tuple[str, ...]:
    route = route_of({**call.span.resource, **call.span.attributes})
    return (route,) if route else ()
