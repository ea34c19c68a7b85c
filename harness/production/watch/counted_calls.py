"""Which calls are counted: those of the shipped model in a window of time, each once.

Exporters deliver late and files are read again, so the last day's calls are kept by hash and never
counted twice. A call that began before that day, the watermark, is not counted at all.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tunegate.harness.records.errors import UsageError
from tunegate.harness.telemetry.read.trace_types import ModelCall

AHEAD_S = 3600.0
"""Seconds that another machine's clock may be ahead of this one's."""


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Options that select calls."""

    now_s: float
    """Unix time."""
    since_s: float | None = None
    """Earlier calls are left out."""
    until_s: float | None = None
    """Later calls are left out."""
    models: tuple[str, ...] = ()
    """Names of the shipped model, as patterns (`ft:gpt-*`); any model if empty."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Attributes of span or program that a call must have."""


@dataclass
class CallTally:
    """Counts of the calls that were read."""

    read: int = 0
    counted: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason → number of calls."""
    models: Counter[str] = field(default_factory=Counter)
    """Model → counted calls."""
    first_s: float | None = None
    last_s: float | None = None


def select_calls(
    calls: Iterable[ModelCall], window: TimeWindow, seen: CountedCalls, tally: CallTally
) -> Iterator[ModelCall]:
    """Yield the calls to count, each once."""
    for call in calls:
        tally.read += 1
        reason = _exclusion_reason(call, window)
        if reason is None and not seen.is_new(call):
            continue
        if reason is None and seen.is_continued(call):
            reason = "of a conversation counted before"
        if reason is not None:
            tally.left_out[reason] += 1
            continue
        start = call.span.start_s
        tally.counted += 1
        tally.models[call.model or "unknown"] += 1
        tally.first_s = start if tally.first_s is None else min(start, tally.first_s)
        tally.last_s = start if tally.last_s is None else max(start, tally.last_s)
        yield call


def refuse_mixed(tally: CallTally, window: TimeWindow) -> None:
    """Refuse calls of several models if `window` does not name the shipped one."""
    if len(tally.models) > 1 and not window.models:
        listed = ", ".join(f"{name} ({count})" for name, count in tally.models.most_common(6))
        raise UsageError(
            f"the traces hold calls of {len(tally.models)} models: {listed}; name the "
            "shipped one: --model NAME, more than once if it has several names"
        )


def _exclusion_reason(call: ModelCall, window: TimeWindow) -> str | None:
    start = call.span.start_s
    if window.models and not any(fnmatchcase(call.model or "", m) for m in window.models):
        return "of another model"
    attributes = {**call.span.resource, **call.span.attributes}
    if any(str(attributes.get(key)) != value for key, value in window.where.items()):
        return "without the attributes of --where"
    if window.since_s is not None and start < window.since_s:
        return "before --since"
    if window.until_s is not None and start >= window.until_s:
        return "not before --until"
    if start > window.now_s + AHEAD_S:
        return "in the future by this machine's clock"
    return None


LATE_S = 86_400.0
"""Seconds that a call may arrive after later ones."""
MOST = 50_000
"""Names kept; on days with more calls the watermark is closer."""


@dataclass
class CountedCalls:
    """The calls that were counted."""

    watermark_s: float | None = None
    names: dict[str, float] = field(default_factory=dict)
    """Hash → start, Unix time."""
    conversations: dict[str, float] = field(default_factory=dict)
    """Hash of each conversation that an earlier look counted → start of its last call."""
    twice: int = 0
    late: int = 0
    begun: dict[str, float] = field(default_factory=dict)
    """The same for conversations that this look counts first."""

    def is_new(self, call: ModelCall) -> bool:
        """Return whether a call was not counted before, and remember it."""
        start = call.span.start_s
        name = _name(call)
        if name in self.names:
            self.twice += 1
            return False
        if self.watermark_s is not None and start < self.watermark_s:
            self.late += 1
            return False
        self.names[name] = round(start, 3)
        return True

    def is_continued(self, call: ModelCall) -> bool:
        """Return whether an earlier look counted the call's conversation; remember it.

        A conversation is one unit of the test: its later calls are likely to share its problems,
        which would be counted as new evidence.
        """
        if call.conversation is None:
            return False
        name, start = _hash(call.conversation), round(call.span.start_s, 3)
        conversations = self.conversations if name in self.conversations else self.begun
        conversations[name] = max(start, conversations.get(name, start))
        return conversations is self.conversations

    def settle(self) -> None:
        """Forget what is more than a day before the last call, and move the watermark there."""
        if not self.names:
            return
        starts = sorted(self.names.values())
        mark = starts[-1] - LATE_S
        if len(starts) > MOST:
            mark = max(mark, starts[-MOST])
        if self.watermark_s is None or mark > self.watermark_s:
            self.watermark_s = mark
        mark = self.watermark_s
        self.names = {name: start for name, start in self.names.items() if start >= mark}
        conversations = {**self.conversations, **self.begun}
        self.conversations = {name: last for name, last in conversations.items() if last >= mark}
        self.begun = {}


def _name(call: ModelCall) -> str:
    return _hash(f"{call.span.trace_id}:{call.span.span_id}")


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
