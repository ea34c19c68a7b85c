"""Model calls in spans: each request once, whichever libraries recorded it.

When a library and the client it calls are both instrumented, a request has two spans, one inside
the other or, where the instrumentations know nothing of each other, side by side. The inner or
later one, nearer to the wire, is read, and what only the other one recorded (tools, parameters, the
answer) is filled in. Where it cannot be replayed, the other one is read.

Example:
    >>> reading = Reading()
    >>> found = list(find_model_calls(read(["traces.jsonl"], reading), reading.leave_out))
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from tunegate.harness import lookup
from tunegate.harness.otel_import.conventions._common import CONTINUED, is_continued
from tunegate.harness.otel_import.types import ModelCall, Span

WINDOW = 2000
"""Spans that are kept; two spans of one request are distinguished if more are between them."""
NEAR = 64
"""Calls with one parent that are looked through for another span of the same request."""
APART_S = 1.0
"""Seconds by which two spans of one request may miss each other: streams end late, or early."""

OTHER = "a span that is no model call"
TWICE = "a span that was read before"
AROUND = "a further span of a model call that has one of its own"

_Key = tuple[str, str]


def find_model_calls(
    spans: Iterable[Span], leave_out: Callable[[str, str], None] | None = None
) -> Iterator[ModelCall]:
    """Yield every request to a language model, also those that cannot be replayed.

    They come in the order of their spans, up to `WINDOW` spans later; memory holds so many.

    Args:
        spans: In any order; children before their parents, as exporters write them, or after.
        leave_out: Told of each span that yields no call: why, and where it is.
    """
    window = _SpanWindow(leave_out or (lambda reason, where: None))
    for span in spans:
        window.take(span)
        yield from window.ripe()
    yield from window.held.values()


def call_of(span: Span) -> ModelCall | None:
    """Return the model call that a span is, read by the first convention that knows it."""
    for convention in _conventions():
        if convention.matches(span):
            found: ModelCall = convention.call(span)
            return found
    return None


@cache
def _conventions() -> tuple[Any, ...]:
    """Return the modules of `tunegate.harness.otel_import.conventions`, by their `ORDER`."""
    return tuple(lookup.ordered_modules("tunegate.harness.otel_import.conventions").values())


@dataclass(slots=True)
class _SpanWindow:
    """The last spans, as far as it takes to see which calls are in one another."""

    leave_out: Callable[[str, str], None]
    parents: dict[_Key, _Key | None] = field(default_factory=dict)
    """Span that was read → the one around it."""
    held: dict[_Key, ModelCall] = field(default_factory=dict)
    below: dict[_Key, list[_Key]] = field(default_factory=dict)
    """Span that was not read yet → the calls somewhere in it."""
    scopes: dict[_Key, set[str]] = field(default_factory=dict)
    """Call that is held → the libraries that recorded it."""
    beside: dict[_Key | None, deque[_Key]] = field(default_factory=dict)
    """Parent → the last calls directly in it."""
    taken: int = 0

    def take(self, span: Span) -> None:
        """Read one span."""
        key = (span.trace_id, span.span_id)
        if key in self.parents:
            self.leave_out(TWICE, span.where)
            return
        self.taken += 1
        self.parents[key] = (span.trace_id, span.parent_id) if span.parent_id else None
        inner = self.below.pop(key, [])
        found = call_of(span)
        if found is None:
            self.leave_out(OTHER, span.where)
        elif not self._is_around(found, inner) and not self._is_beside(key, found):
            self._hold(key, found)
            inner = [*inner, key]
        self._rise(key, inner)

    def _hold(self, key: _Key, found: ModelCall) -> None:
        self.held[key] = self._with_outer(key, found)
        self.scopes.setdefault(key, set()).add(found.span.scope)
        if around := self.parents[key]:
            self.beside.setdefault(around, deque(maxlen=NEAR)).append(key)

    def ripe(self) -> Iterator[ModelCall]:
        """Yield the calls that leave the window."""
        while len(self.parents) > WINDOW:
            key = next(iter(self.parents))
            del self.parents[key]
            if key in self.held:
                yield self.held.pop(key)
                self.scopes.pop(key, None)
        if self.taken % WINDOW == 0:
            self.below = {k: v for k, v in self.below.items() if any(c in self.held for c in v)}
            self.beside = {k: v for k, v in self.beside.items() if v[-1] in self.held}

    def _is_around(self, found: ModelCall, inner: list[_Key]) -> bool:
        """Return whether calls that were read before are this one; a single one gains by it."""
        same = [key for key in inner if key in self.held and _is_same(self.held[key], found)]
        if len(same) == 1:
            self.held[same[0]] = _merge_calls(self.held[same[0]], found)
        if same:
            self.leave_out(AROUND, found.span.where)
        return bool(same)

    def _is_beside(self, key: _Key, found: ModelCall) -> bool:
        """Return whether another library recorded the same call in a span next to this one."""
        for near in self.beside.get(self.parents[key], ()):
            other = self.held.get(near)
            if other is None or found.span.scope in self.scopes[near] or not _is_one(found, other):
                continue
            inner, outer = (found, other) if _is_within(found, other) else (other, found)
            self.held[near] = _merge_calls(inner, outer)
            self.scopes[near].add(found.span.scope)
            self.leave_out(AROUND, outer.span.where)
            return True
        return False

    def _with_outer(self, key: _Key, found: ModelCall) -> ModelCall:
        """Return the call with what a span around it told, which then is none of its own."""
        around = next((place for place in self._around(key) if place in self.held), None)
        if around is None or not _is_same(found, self.held[around]):
            return found
        outer = self.held.pop(around)
        self.scopes[key] = self.scopes.pop(around)
        self.leave_out(AROUND, outer.span.where)
        return _merge_calls(found, outer)

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
    """Return whether two calls, one in the other, ask or answer the same; unknown is the same."""
    if not inner.messages or not outer.messages:
        return True
    answered = bool(inner.answer) and inner.answer == outer.answer
    return answered or _last_text(inner) == _last_text(outer)


def _is_one(one: ModelCall, other: ModelCall) -> bool:
    """Return whether two calls, one next to the other, are the same: asked, answered and when."""
    if not one.messages or not other.messages:
        during = _is_during(one, other) or _is_during(other, one)
        return during and one.model == other.model
    gap = max(one.span.start_s, other.span.start_s) - min(one.span.end_s, other.span.end_s)
    answers = {call.answer for call in (one, other) if call.answer}
    return _last_text(one) == _last_text(other) and gap <= APART_S and len(answers) <= 1


def _is_during(one: ModelCall, other: ModelCall) -> bool:
    return other.span.start_s <= one.span.start_s and one.span.end_s <= other.span.end_s


def _is_within(one: ModelCall, other: ModelCall) -> bool:
    """Return whether the first of two calls next to each other began later."""
    return one.span.start_s > other.span.start_s


def _last_text(call: ModelCall) -> str:
    """Return the last message's text."""
    return str(call.messages[-1].get("content")).strip() if call.messages else ""


_GAPS = (
    "tools", "answer", "answer_calls", "finish_reason", "model", "provider", "input_tokens",
    "output_tokens", "cost",
)  # fmt: skip
"""Fields that another reading of the same request may fill."""


def _merge_calls(inner: ModelCall, outer: ModelCall) -> ModelCall:
    """Return the better of two readings of one request, with what only the other one has."""
    best, other = sorted((inner, outer), key=_worth, reverse=True)
    filled = {name: getattr(other, name) for name in _GAPS if getattr(best, name) in (None, ())}
    settings = {**other.parameters, **best.parameters}
    obstacle = best.unreplayable or (CONTINUED if is_continued(settings) else None)
    return replace(best, parameters=settings, unreplayable=obstacle, **filled)


def _worth(call: ModelCall) -> tuple[bool, bool]:
    return call.unreplayable is None, bool(call.messages)
