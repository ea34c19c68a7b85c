"""Replayed calls: a model call of a trace → the fields of a case and its recorded answer."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.records.cases import Case
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.recorded_answer import RecordedAnswer
from tunegate.harness.suite.sources import _conversations
from tunegate.harness.telemetry.read.trace_types import ImportReport, ModelCall, route_of


@dataclass(frozen=True, slots=True)
class ReplayedCall:
    """One call, ready to be asked again."""

    row: Mapping[str, Any]
    """In the form of case.schema.json."""
    recorded: RecordedAnswer | None
    """None where the trace holds no answer."""
    facets: Mapping[str, str]
    """Keys for selecting and stratifying calls: model, provider, route, day, hour."""
    attributes: Mapping[str, Any] = field(repr=False)
    """Attributes of the program and the span."""
    where: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the request under OpenAI's names."""
    trace: str = ""
    """Trace id."""
    unrecorded: frozenset[str] = frozenset()
    """Settings that the recorder does not write."""


FAILED = "a call that failed in production"
NO_TOOLS = "a call that was answered with a tool call, but whose tools were not recorded"
_FEWEST = 8
"""Fewest cases for which a trace with most of them is reported."""
_LONGEST_NAME = 64
_IDENTIFIERS = ("id", "Id", "_key", ".key", "number")
"""Endings of attribute names that may distinguish the parts of a job."""


def replay_call(
    call: ModelCall, reading: ImportReport, cluster_by: str = ""
) -> ReplayedCall | None:
    """Return a call to be asked again; None if it cannot be, which `reading` counts by reason."""
    span = call.span
    if span.error is not None:
        reading.leave_out(FAILED, span.where)
        return None
    if (call.answer_calls or _lost_calls(call)) and not call.tools and call.unreplayable is None:
        reading.leave_out(NO_TOOLS, span.where)
        return None
    if call.unreplayable is not None:
        # Without its message number, so that equal reasons are counted together.
        reason = call.unreplayable.split(" in message ")[0]
        reading.leave_out(f"a call that cannot be replayed: {reason}", span.where)
        return None
    try:
        asked = _conversations.prompt_fields(
            _conversations.conversation_turns([dict(turn) for turn in call.messages])
        )
    except ValueError as error:
        reading.leave_out(f"a call that cannot be replayed: {error!s:.80}", span.where)
        return None
    known = {**span.resource, **span.attributes}
    facets = {"model": call.model or "", "provider": call.provider or "", "route": route_of(known)}
    if span.start_s:
        try:
            began = datetime.datetime.fromtimestamp(span.start_s, datetime.UTC)
            facets |= {"day": f"{began:%Y-%m-%d}", "hour": f"{began:%Y-%m-%dT%H}"}
        except (OverflowError, ValueError, OSError):  # beyond the calendar
            pass
    row = {
        "id": span.span_id,
        **asked,
        "tools": [dict(tool) for tool in call.tools] or None,
        **_answer_fields(call, reading),
        "tags": list(dict.fromkeys(facets[name] for name in ("model", "route") if facets[name])),
        "cluster": cluster_name(call, known, cluster_by, reading),
    }
    row = {key: value for key, value in row.items() if value is not None}
    answer = _recorded_answer(call)
    return ReplayedCall(
        row, answer, facets, known, span.where, call.parameters, span.trace_id, call.unrecorded
    )


def cluster_name(
    call: ModelCall, known: Mapping[str, Any], cluster_by: str, reading: ImportReport
) -> str:
    """Return the cluster of a call, which all calls that are not independent share.

    By default it is the conversation or session, or else the trace. Session names may identify
    people, so they are hashed.

    Args:
        call: The call.
        known: Attributes of its program and its span.
        cluster_by: An attribute whose values are the clusters; `trace`; or `call` for independent
            calls.
        reading: Counts the calls that lack the attribute.
    """
    if cluster_by in ("call", "trace"):
        return call.span.span_id if cluster_by == "call" else call.span.trace_id
    named = known.get(cluster_by) if cluster_by else None
    if cluster_by and named in (None, ""):
        reading.repair("a call without the attribute of cluster_by", call.span.where)
        named = None
    named = call.conversation if named is None else str(named)
    return call.span.trace_id if named is None else sha256(named)[:16]


def one_trace_warning(cases: Sequence[Case], calls: Sequence[ReplayedCall]) -> str:
    """Return a warning if more than half of the cases are in one trace, such as a job's."""
    ((name, count),) = Counter(case.cluster for case in cases).most_common(1)
    inside = [call for call in calls if call.row.get("cluster") == call.trace == name]
    if len(cases) < _FEWEST or 2 * count <= len(cases) or not inside:
        return ""
    names = _identifying_attributes(inside)
    such = f" (here {' or '.join(names)})" if names else ""
    return (
        f"{count} of {len(cases)} cases are in one trace, like those of a job under one root span, "
        "and count as one observation; --cluster-by an attribute that distinguishes them"
        f"{such}, or call if they are independent (cluster_by in a suite file)"
    )


def _identifying_attributes(calls: Sequence[ReplayedCall]) -> list[str]:
    """Return attributes with different short values in most calls: likely identifiers."""
    values: dict[str, set[str]] = {}
    for call in calls:
        for name, value in call.attributes.items():
            if isinstance(value, str | int) and 0 < len(str(value)) <= _LONGEST_NAME:
                values.setdefault(name, set()).add(str(value))
    found = [name for name, held in values.items() if 2 * len(held) > len(calls)]
    return [name for name in sorted(found) if name.endswith(_IDENTIFIERS)][:2]


def _lost_calls(call: ModelCall) -> bool:
    """Return whether an answer ended in a tool call that the trace does not hold."""
    return call.finish_reason == "tool_calls" and not call.answer_calls


def _answer_fields(call: ModelCall, reading: ImportReport) -> dict[str, Any]:
    """Return the recorded answer as what is expected; with tools, also the calls."""
    found: dict[str, Any] = {"expected": call.answer or None, "expected_calls": None}
    if _lost_calls(call) or (not call.answer and not call.answer_calls):
        reading.repair("a call whose answer was not recorded: nothing is expected", call.span.where)
        return found | {"expected": None}
    try:
        expected = [
            _conversations.expected_call(made.get("function", made), arguments="arguments")
            for made in call.answer_calls
        ]
    except ValueError:
        reading.repair(
            "a tool call without readable arguments: no call is expected", call.span.where
        )
        return found
    return found | {"expected_calls": expected or ([] if call.tools else None)}


def _recorded_answer(call: ModelCall) -> RecordedAnswer | None:
    completion = call.completion
    if _lost_calls(call) or completion.text is None:
        return None
    return RecordedAnswer.of(call.span.span_id, completion)
