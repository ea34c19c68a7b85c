"""Model calls in spans: each request once, whichever libraries recorded it.

When a library and the client it calls are both instrumented, a request has two spans, one inside
the other or, where the instrumentations do not know each other, side by side. The inner or later
one, nearer to the wire, is read, and what only the other one recorded (tools, parameters, the
answer) is filled in. If it has gaps, the other one is read. One span may hold several records, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.telemetry.read.conventions._common import CONTINUED, is_continued
from tunegate.harness.telemetry.read.conventions._flattened import load_object
from tunegate.harness.telemetry.read.trace_types import (
    MALFORMED,
    ModelCall,
    Span,
    named_conversation,
)
from tunegate.harness.telemetry.read.unrecorded_settings import unrecorded_settings

WINDOW = 2000
"""Spans that are kept; two spans of one request are distinguished if more are between them."""
NEAR = 64
"""Calls with one parent that are searched for another span of the same request."""
APART_S = 1.0
"""Seconds that may lie between two spans of one request: streams end late, or early."""

OTHER = "a span that is not a model call"
TWICE = "a span that was read before"
AROUND = "a further span of a model call that has one of its own"
BROKEN = "a span that breaks the rules of its convention"

_Key = tuple[str, str]
ANSWERED, UNANSWERED = ("", "answered"), ("", "unanswered")
"""Places of roots; the first span of a stream has no answer, and its end may be far behind it."""


def find_model_calls(
    spans: Iterable[Span],
    leave_out: Callable[[str, str], None] | None = None,
    repair: Callable[[str, str], None] | None = None,
) -> Iterator[ModelCall]:
    """Yield every request to a language model, also those that cannot be replayed.

    They come in the order of their spans, up to `WINDOW` spans later; memory holds so many.
    """
    ignore: Callable[[str, str], None] = lambda reason, where: None  # noqa: E731
    window = _SpanWindow(leave_out or ignore, repair or ignore)
    for span in spans:
        window.take(span)
        yield from window.ripe()
    yield from map(window.with_session, window.held.values())


def call_of(span: Span, repair: Callable[[str, str], None] | None = None) -> ModelCall | None:
    """Return the model call in a span, read by every convention that matches it.

    Of several readings the one with more messages and tool calls is taken; the others fill its
    gaps, and replace tools or an answer format without a schema.
    """
    readings: list[ModelCall] = [
        convention.call(span) for convention in _conventions() if convention.matches(span)
    ]
    if not readings:
        return None
    best, *others = sorted(readings, key=_richness, reverse=True)
    for other in others:
        if repair is not None and best.messages and other.messages and not other.has_gaps:
            for name in _contradictions(best, other):
                repair(f"a call whose span holds two records with different {name}", span.where)
        best = _fill(best, other)
    return replace(best, unrecorded=unrecorded_settings(best), reply_id=_reply_id(span))


@cache
def _conventions() -> tuple[Any, ...]:
    return tuple(lookup.ordered_modules("tunegate.harness.telemetry.read.conventions").values())


@dataclass(slots=True)
class _SpanWindow:
    """The last spans, enough of them to see which calls are inside one another."""

    leave_out: Callable[[str, str], None]
    repair: Callable[[str, str], None]
    parents: dict[_Key, _Key | None] = field(default_factory=dict)
    """Span that was read → the one around it."""
    held: dict[_Key, ModelCall] = field(default_factory=dict)
    below: dict[_Key, list[_Key]] = field(default_factory=dict)
    """Span that was not read yet → the calls somewhere in it."""
    scopes: dict[_Key, set[str]] = field(default_factory=dict)
    """Call that is held → the libraries that recorded it."""
    beside: dict[_Key, deque[_Key]] = field(default_factory=dict)
    """Parent → the last calls directly in it; roots by whether they hold an answer."""
    replies: dict[str, _Key] = field(default_factory=dict)
    """Id of a reply → the last call with it."""
    sessions: dict[str, str | None] = field(default_factory=dict)
    """Trace → the session that its spans name; None where they name several."""
    taken: int = 0

    def take(self, span: Span) -> None:
        """Read one span."""
        key = (span.trace_id, span.span_id)
        if key in self.parents:
            self.leave_out(TWICE, span.where)
            return
        self.taken += 1
        self.parents[key] = (span.trace_id, span.parent_id) if span.parent_id else None
        if (named := named_conversation(span)) is not None:
            session = self.sessions.setdefault(span.trace_id, named)
            self.sessions[span.trace_id] = named if session == named else None
        inner = self.below.pop(key, [])
        try:
            call = call_of(span, self.repair)
        except MALFORMED:
            self.leave_out(BROKEN, span.where)
            return
        if call is None:
            self.leave_out(OTHER, span.where)
        elif not self._is_around(call, inner) and not self._is_beside(key, call):
            self._hold(key, call)
            inner = [*inner, key]
        self._rise(key, inner)

    def _hold(self, key: _Key, call: ModelCall) -> None:
        self.held[key] = self._with_outer(key, call)
        self.scopes.setdefault(key, set()).add(call.span.scope)
        place = self.parents[key] or (ANSWERED if _has_answer(call) else UNANSWERED)
        self.beside.setdefault(place, deque(maxlen=NEAR)).append(key)
        if call.reply_id is not None:
            self.replies[call.reply_id] = key

    def with_session(self, call: ModelCall) -> ModelCall:
        """Return a call with the session that its trace names."""
        named = self.sessions.get(call.span.trace_id)
        return replace(call, session=named) if named is not None else call

    def ripe(self) -> Iterator[ModelCall]:
        """Yield the calls that leave the window."""
        while len(self.parents) > WINDOW:
            key = next(iter(self.parents))
            del self.parents[key]
            if key in self.held:
                yield self.with_session(self.held.pop(key))
                self.scopes.pop(key, None)
        if self.taken % WINDOW == 0:
            self.below = {k: v for k, v in self.below.items() if any(c in self.held for c in v)}
            self.beside = {k: v for k, v in self.beside.items() if v[-1] in self.held}
            self.replies = {k: v for k, v in self.replies.items() if v in self.held}
            near = {trace for trace, _ in self.parents}
            self.sessions = {k: v for k, v in self.sessions.items() if k in near}

    def _is_around(self, call: ModelCall, inner: list[_Key]) -> bool:
        """Return whether calls read before are this one; a single one takes over its data."""
        same = [key for key in inner if key in self.held and _is_same(self.held[key], call)]
        if len(same) == 1:
            self.held[same[0]] = _merge_calls(self.held[same[0]], call)
        if same:
            self.leave_out(AROUND, call.span.where)
        return bool(same)

    def _is_beside(self, key: _Key, call: ModelCall) -> bool:
        """Return whether the same request was recorded in a span next to this one."""
        around = self.parents[key]
        same_reply = self.replies.get(call.reply_id or "")
        places = (around,) if around is not None else (UNANSWERED, ANSWERED)
        beside = [near for place in places for near in self.beside.get(place, ())]
        for near in [*([same_reply] if same_reply else ()), *beside]:
            other = self.held.get(near)
            if other is None:
                continue
            if call.span.scope in self.scopes[near]:
                is_same = _is_one(call, other) and _is_streamed(call, other)
            elif around is None or near == same_reply:
                is_same = _is_one_of_roots(call, other)
            else:
                is_same = _is_one(call, other)
            if not is_same:
                continue
            inner, outer = (call, other) if _is_within(call, other) else (other, call)
            self.held[near] = _merge_calls(inner, outer)
            self.scopes[near].add(call.span.scope)
            self.leave_out(AROUND, outer.span.where)
            return True
        return False

    def _with_outer(self, key: _Key, call: ModelCall) -> ModelCall:
        """Return the call with the data of a span around it, which is then dropped."""
        around = next((place for place in self._around(key) if place in self.held), None)
        if around is None or not _is_same(call, self.held[around]):
            return call
        outer = self.held.pop(around)
        self.scopes[key] = self.scopes.pop(around)
        self.leave_out(AROUND, outer.span.where)
        return _merge_calls(call, outer)

    def _rise(self, key: _Key, inner: list[_Key]) -> None:
        """Note the calls at the nearest span around them that is still to come."""
        for place in self._around(key) if inner else ():
            if place not in self.parents:
                self.below.setdefault(place, []).extend(inner)

    def _around(self, key: _Key) -> Iterator[_Key]:
        """Yield the spans around one, the nearest first; the last may be still to come."""
        seen = {key}
        place = self.parents[key]
        while place is not None and place not in seen:
            seen.add(place)
            yield place
            place = self.parents.get(place)


def _is_same(inner: ModelCall, outer: ModelCall) -> bool:
    """Return whether two calls, one in the other, ask or answer the same, or may do so."""
    if not inner.messages or not outer.messages:
        return True
    answered = bool(inner.answer) and inner.answer == outer.answer
    return answered or _last_text(inner) == _last_text(outer)


def _is_one(one: ModelCall, other: ModelCall) -> bool:
    """Return whether two sibling calls have the same question, answer and time."""
    if not one.messages or not other.messages:
        during = _is_during(one, other) or _is_during(other, one)
        return during and one.model == other.model
    answers = {call.answer for call in (one, other) if call.answer}
    near = _gap_s(one, other) <= APART_S
    return _last_text(one) == _last_text(other) and near and len(answers) <= 1


def _is_one_of_roots(call: ModelCall, other: ModelCall) -> bool:
    """Return whether two libraries recorded one request in traces of their own.

    They got the same reply; or both failed, and one holds no content, as Anthropic's client writes
    it; or both hold the same question and answer.
    """
    if call.model != other.model:
        return False
    if call.reply_id is not None and other.reply_id is not None:
        return call.reply_id == other.reply_id and _gap_s(call, other) <= APART_S
    if not call.messages or not other.messages:
        both_failed = call.span.error is not None and other.span.error is not None
        return both_failed and (_is_during(call, other) or _is_during(other, call))
    return bool(call.answer) and call.answer == other.answer and _is_one(call, other)


def _reply_id(span: Span) -> str | None:
    """Return the provider's id of the reply; OpenInference writes it only in the whole reply."""
    known = span.attributes
    found = known.get("gen_ai.response.id") or load_object(known.get("output.value")).get("id")
    return found if isinstance(found, str) and found else None


def _gap_s(one: ModelCall, other: ModelCall) -> float:
    """Return the seconds between two calls; negative if they overlap."""
    return max(one.span.start_s, other.span.start_s) - min(one.span.end_s, other.span.end_s)


def _has_answer(call: ModelCall) -> bool:
    return bool(call.answer or call.answer_calls)


def _is_during(one: ModelCall, other: ModelCall) -> bool:
    return other.span.start_s <= one.span.start_s and one.span.end_s <= other.span.end_s


def _is_within(one: ModelCall, other: ModelCall) -> bool:
    return one.span.start_s > other.span.start_s


def _last_text(call: ModelCall) -> str:
    return str(call.messages[-1].get("content")).strip() if call.messages else ""


def _is_streamed(one: ModelCall, other: ModelCall) -> bool:
    """Return whether one library wrote two spans: for a stream's beginning, and for all of it.

    Logfire does: the first one holds no answer, the later one takes no time.
    """
    first, later = sorted((one, other), key=lambda call: call.span.start_s)
    return (
        not _has_answer(first)
        and first.span.error is None
        and _has_answer(later)
        and later.latency_s == 0.0
    )


_GAPS = (
    "answer", "answer_calls", "finish_reason", "model", "provider", "input_tokens",
    "output_tokens", "reasoning_tokens", "cost",
)  # fmt: skip
"""Fields that another reading of the same request may fill."""


def _merge_calls(inner: ModelCall, outer: ModelCall) -> ModelCall:
    """Return the better of two readings of one request, with what only the other one has."""
    best, other = sorted((inner, outer), key=_worth, reverse=True)
    return _fill(best, other)


def _fill(best: ModelCall, other: ModelCall) -> ModelCall:
    """Return a reading of a request with what only another one of the same request holds."""
    filled = {name: getattr(other, name) for name in _GAPS if not getattr(best, name)}
    filled = {name: value for name, value in filled.items() if value not in (None, ())}
    settings = {**other.parameters, **best.parameters}
    if "json_schema" in str(form := other.parameters.get("response_format")):
        settings["response_format"] = best.parameters.get("response_format", form)
        if "json_schema" not in str(settings["response_format"]):
            settings["response_format"] = form
    obstacle = best.unreplayable or (CONTINUED if is_continued(settings) else None)
    if other.never_replayable and not best.never_replayable:
        obstacle = other.unreplayable
    return replace(
        best,
        tools=max(best.tools, other.tools, key=_schemas),
        parameters=settings,
        unrecorded=(best.unrecorded & other.unrecorded) - settings.keys(),
        unreplayable=obstacle,
        never_replayable=best.never_replayable or other.never_replayable,
        **filled,
    )


def _schemas(tools: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    """Return how much tool definitions hold: schemas, tools, and other fields."""
    functions = [tool["function"] for tool in tools]
    schemas = sum("parameters" in function for function in functions)
    return schemas, len(functions), sum(map(len, functions))


def _worth(call: ModelCall) -> tuple[bool, bool]:
    return bool(call.messages), not call.has_gaps


def _richness(call: ModelCall) -> tuple[bool, bool, int, int, int]:
    """Return how much of its request a reading holds."""
    calls = [one for message in call.messages for one in message.get("tool_calls", ())]
    texts = sum(len(str(message.get("content") or "")) for message in call.messages)
    return *_worth(call), len(call.messages), len(calls), texts


def _contradictions(one: ModelCall, other: ModelCall) -> Iterator[str]:
    """Yield what two readings of one span contradict each other about."""
    if len(one.messages) != len(other.messages) or _last_text(one) != _last_text(other):
        yield "messages"
    if one.answer and other.answer and one.answer != other.answer:
        yield "answers"
    names = [[made["function"]["name"] for made in call.answer_calls] for call in (one, other)]
    if all(names) and names[0] != names[1]:
        yield "tool calls"
