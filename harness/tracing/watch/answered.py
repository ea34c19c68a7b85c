"""A traced call as metrics read it: a case, and the completion that the users got."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records import Case, Completion
from harness.remote.message import Unanswered, answer_of
from harness.tracing.call import Call

_ENDED = {"stop", "end_turn", "stop_sequence", "eos", "eos_token", "tool_calls", "tool_use",
          "tool_call", "function_call"}  # fmt: skip
_CUT = {"length", "max_tokens", "max_output_tokens"}
_WITHHELD = "content_filter"


@dataclass(frozen=True, slots=True)
class Answered:
    """A case with its completion, of the gate or of production."""

    case: Case
    completion: Completion | None
    """None where the call failed, or a filter withheld the answer."""


def answered(call: Call) -> Answered:
    """Return a traced call as metrics read it."""
    case = Case(
        id=f"{call.span.trace_id}:{call.span.span_id}",
        messages=tuple(dict(message) for message in call.messages) or None,
        tools=tuple(dict(tool) for tool in call.tools) or None,
        cluster=call.span.trace_id or None,
    )
    reason = _finish_reason(call.finish_reason)
    if call.span.error is not None or reason == _WITHHELD:
        return Answered(case, None)
    completion = Completion(
        text=_text(call),
        finish_reason=reason,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        latency_s=call.latency_s,
        batch_size=1,
        cost=call.cost,
        answered_by=call.model,
    )
    return Answered(case, completion)


def _text(call: Call) -> str | None:
    """Return the answer in one text; None where the trace does not hold it."""
    try:
        return answer_of({"content": call.answer, "tool_calls": call.answer_calls}, None)
    except Unanswered:
        return call.answer


def _finish_reason(said: str | None) -> str | None:
    """Return what providers call `stop` and `length` under these names."""
    word = said.lower() if said else said
    if word in _ENDED:
        return "stop"
    return "length" if word in _CUT else word
