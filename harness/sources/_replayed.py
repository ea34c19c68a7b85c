"""A model call of a trace → the fields of a case, and what was answered in production."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.sources import _turns
from harness.tracing.call import Call
from harness.tracing.reading import Reading

ROUTES = (
    "http.route",
    "gen_ai.agent.name",
    "gen_ai.workflow.name",
    "traceloop.workflow.name",
    "service.name",
)
"""Attributes of a call's span, or else of its program, that say where it was made for."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One call, ready to be asked again."""

    row: Mapping[str, Any]
    """In the form of case.schema.json."""
    recorded: Mapping[str, Any] | None
    """In the form of a line that `replay:` reads; None where the trace holds no answer."""
    facets: Mapping[str, str]
    """What calls are chosen and stratified by: model, provider, route, day, hour."""
    attributes: Mapping[str, Any] = field(repr=False)
    """Those of the program and of the span."""
    where: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the request under OpenAI's names."""


def replayed(call: Call, reading: Reading) -> Replayed | None:
    """Return a call as a case; None where it cannot be one, which is counted with its reason."""
    span = call.span
    if call.unreplayable is not None:
        reading.leave_out(f"a call that cannot be replayed: {_kind(call.unreplayable)}", span.where)
        return None
    try:
        asked = _turns.asked(_turns.turns([dict(turn) for turn in call.messages]))
    except ValueError as error:
        reading.leave_out(f"a call that cannot be replayed: {error!s:.80}", span.where)
        return None
    known = {**span.resource, **span.attributes}
    facets = {"model": call.model or "", "provider": call.provider or "", "route": _route(known)}
    if span.start_s:
        began = datetime.datetime.fromtimestamp(span.start_s, datetime.UTC)
        facets |= {"day": f"{began:%Y-%m-%d}", "hour": f"{began:%Y-%m-%dT%H}"}
    row = {
        "id": span.span_id,
        **asked,
        "tools": [dict(tool) for tool in call.tools] or None,
        **_answered(call, reading),
        "tags": list(dict.fromkeys(facets[name] for name in ("model", "route") if facets[name])),
        "cluster": span.trace_id,
    }
    row = {key: value for key, value in row.items() if value is not None}
    return Replayed(row, _recorded(call), facets, known, span.where, call.parameters)


def _kind(reason: str) -> str:
    """Return a reason without the number of its message, so that reasons can be counted."""
    return reason.split(" in message ")[0]


def _route(known: Mapping[str, Any]) -> str:
    return next((str(known[name]) for name in ROUTES if known.get(name)), "")


def _answered(call: Call, reading: Reading) -> dict[str, Any]:
    """Return what was answered as what is expected; where tools were offered, also which calls."""
    found: dict[str, Any] = {"expected": call.answer or None, "expected_calls": None}
    if call.answer is None and not call.answer_calls:
        reading.mend("a call whose answer was not recorded: nothing is expected", call.span.where)
        return found
    try:
        expected = [
            _turns.expected_call(made.get("function", made), arguments="arguments")
            for made in call.answer_calls
        ]
    except ValueError:
        reading.mend("a tool call without readable arguments: none is expected", call.span.where)
        return found
    return found | {"expected_calls": expected or ([] if call.tools else None)}


def _recorded(call: Call) -> dict[str, Any] | None:
    if call.answer is None and not call.answer_calls:
        return None
    said = [*([call.answer] if call.answer else []), *map(_written, call.answer_calls)]
    line = {
        "id": call.span.span_id,
        "completion": "\n".join(said),
        "finish_reason": "stop" if call.finish_reason == "tool_calls" else call.finish_reason,
        "latency_s": round(call.latency_s, 6) or None,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cost": call.cost,
    }
    return {key: value for key, value in line.items() if value is not None}


def _written(made: Mapping[str, Any]) -> str:
    """Return a tool call as Hermes writes it, which is how servers' calls are kept, too."""
    function = made.get("function", made)
    arguments = function.get("arguments")
    try:
        parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        parsed = arguments
    told = json.dumps({"name": function.get("name"), "arguments": parsed}, ensure_ascii=False)
    return f"<tool_call>{told}</tool_call>"
