"""Spans → the model calls in them, each once, whoever wrote them.

When a library and the client it calls are both instrumented, a request has two spans, one inside
the other: the inner one, nearer to the wire, is read, and what only the outer one recorded (tools,
parameters, the answer) is filled in. Where the inner one cannot be replayed, the outer one is read.

Example:
    >>> reading = Reading()
    >>> found = list(calls(read(["traces.jsonl"], reading), reading.leave_out))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from harness.tracing.call import Call
from harness.tracing.conventions import genai, genai_events, openinference, openllmetry, traceai
from harness.tracing.span import Span

CONVENTIONS = (openinference, traceai, openllmetry, genai_events, genai)
"""In the order in which they are asked: those that say more of a span before those that any has."""
WINDOW = 2000
"""Spans that are kept in mind; two spans of one request are told apart if more lie between them."""

OTHER = "a span that is no model call"
TWICE = "a span that was read before"
AROUND = "a span around a model call that has a span of its own"

_Key = tuple[str, str]


def calls(
    spans: Iterable[Span], leave_out: Callable[[str, str], None] | None = None
) -> Iterator[Call]:
    """Yield every request to a language model, also those that cannot be replayed.

    They come in the order of their spans, up to `WINDOW` spans later; memory holds so many.

    Args:
        spans: In any order; children before their parents, as exporters write them, or after.
        leave_out: Told of each span that yields no call: why, and where it stands.
    """
    window = _Window(leave_out or (lambda reason, where: None))
    for span in spans:
        window.take(span)
        yield from window.ripe()
    yield from window.held.values()


def call_of(span: Span) -> Call | None:
    """Return the model call that a span is, read by the first convention that knows it."""
    for convention in CONVENTIONS:
        if convention.matches(span):
            found: Call = convention.call(span)
            return found
    return None


@dataclass(slots=True)
class _Window:
    """The last spans, as far as it takes to see which calls lie in one another."""

    leave_out: Callable[[str, str], None]
    parents: dict[_Key, _Key | None] = field(default_factory=dict)
    """Span that was read → the one around it."""
    held: dict[_Key, Call] = field(default_factory=dict)
    below: dict[_Key, list[_Key]] = field(default_factory=dict)
    """Span that was not read yet → the calls somewhere in it."""
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
        elif not self._is_around(found, inner):
            self.held[key] = self._with_outer(key, found)
            inner = [*inner, key]
        self._rise(key, inner)

    def ripe(self) -> Iterator[Call]:
        """Yield the calls that leave the window."""
        while len(self.parents) > WINDOW:
            key = next(iter(self.parents))
            del self.parents[key]
            if key in self.held:
                yield self.held.pop(key)
        if self.taken % WINDOW == 0:
            known = {k: [c for c in below if c in self.held] for k, below in self.below.items()}
            self.below = {key: below for key, below in known.items() if below}

    def _is_around(self, found: Call, inner: list[_Key]) -> bool:
        """Return whether calls that were read before are this one; a single one gains by it."""
        same = [key for key in inner if key in self.held and _is_same(self.held[key], found)]
        if len(same) == 1:
            self.held[same[0]] = _united(self.held[same[0]], found)
        if same:
            self.leave_out(AROUND, found.span.where)
        return bool(same)

    def _with_outer(self, key: _Key, found: Call) -> Call:
        """Return the call with what a span around it told, which then is none of its own."""
        around = next((place for place in self._around(key) if place in self.held), None)
        if around is None or not _is_same(found, self.held[around]):
            return found
        outer = self.held.pop(around)
        self.leave_out(AROUND, outer.span.where)
        return _united(found, outer)

    def _rise(self, key: _Key, inner: list[_Key]) -> None:
        """Note the calls at the nearest span around them that is still to come."""
        for place in self._around(key):
            if inner and place not in self.parents:
                self.below.setdefault(place, []).extend(inner)

    def _around(self, key: _Key) -> Iterator[_Key]:
        """Yield the spans around one, the nearest first; the last may be still to come."""
        seen = {key}
        place = self.parents[key]
        while place is not None and place not in seen:
            seen.add(place)
            yield place
            place = self.parents.get(place)


def _is_same(inner: Call, outer: Call) -> bool:
    """Return whether two calls, one in the other, ask or answer the same; unknown is the same."""
    if not inner.messages or not outer.messages:
        return True
    asked = {str(call.messages[-1].get("content")).strip() for call in (inner, outer)}
    answered = bool(inner.answer) and inner.answer == outer.answer
    return answered or len(asked) == 1


_GAPS = (
    "tools", "answer", "answer_calls", "finish_reason", "model", "provider", "input_tokens",
    "output_tokens", "cost",
)  # fmt: skip
"""Fields that another reading of the same request may fill."""


def _united(inner: Call, outer: Call) -> Call:
    """Return the better of two readings of one request, with what only the other one has."""
    swap = inner.unreplayable is not None and outer.unreplayable is None
    best, other = (outer, inner) if swap else (inner, outer)
    filled = {name: getattr(other, name) for name in _GAPS if getattr(best, name) in (None, ())}
    return replace(best, parameters={**other.parameters, **best.parameters}, **filled)
