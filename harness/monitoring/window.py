"""Window of a look: which calls are selected, and their totals by trace."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tunegate.harness.errors import UsageError
from tunegate.harness.monitoring.state import CountedCalls
from tunegate.harness.otel_import.types import ModelCall

AHEAD_S = 3600.0
"""Seconds that another machine's clock may be ahead of this one's."""


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """What is asked for."""

    now_s: float
    """Unix time."""
    since_s: float | None = None
    """Calls that began before are left out."""
    until_s: float | None = None
    """Calls that began then or later are left out."""
    models: tuple[str, ...] = ()
    """Names of the shipped model, as patterns (`ft:gpt-*`); any where none is given."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Attributes of the span, or of the program, that a call must have."""


@dataclass
class CallTally:
    """What became of the calls that were read."""

    read: int = 0
    counted: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Why → how many."""
    models: Counter[str] = field(default_factory=Counter)
    """Model → counted calls."""
    first_s: float | None = None
    last_s: float | None = None


def select_calls(
    calls: Iterable[ModelCall], window: TimeWindow, seen: CountedCalls, tally: CallTally
) -> Iterator[ModelCall]:
    """Yield the calls that are to be counted, each once."""
    for call in calls:
        tally.read += 1
        reason = _exclusion_reason(call, window)
        if reason is None and not seen.is_new(call):
            continue
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
    """Refuse calls of several models where nothing says which of them shipped.

    Raises:
        UsageError: with the models and how often each was called.
    """
    if len(tally.models) > 1 and not window.models:
        found = ", ".join(f"{name} ({count})" for name, count in tally.models.most_common(6))
        raise UsageError(
            f"the traces hold calls of {len(tally.models)} models: {found}; say which is the "
            "shipped one: --model NAME, more than once if it has several names"
        )


def _exclusion_reason(call: ModelCall, window: TimeWindow) -> str | None:
    start = call.span.start_s
    if window.models and not any(fnmatchcase(call.model or "", m) for m in window.models):
        return "of another model"
    own = {**call.span.resource, **call.span.attributes}
    if any(str(own.get(key)) != value for key, value in window.where.items()):
        return "without the attributes of --where"
    if window.since_s is not None and start < window.since_s:
        return "before --since"
    if window.until_s is not None and start >= window.until_s:
        return "not before --until"
    if start > window.now_s + AHEAD_S:
        return "begun in the future, by this machine's clock"
    return None


class TraceUnits:
    """A row a trace: when it began, and of each figure the sum of its losses and their number."""

    def __init__(self, figures: int) -> None:
        """Make room for so many figures."""
        self._width = 1 + 2 * figures
        self._rows: dict[str, array[float]] = {}

    def begin(self, trace: str, start: float) -> None:
        """Note a call of a trace; the earliest one says when the trace began."""
        row = self._rows.get(trace)
        if row is None:
            row = self._rows[trace] = array("d", bytes(8 * self._width))
            row[0] = start
        row[0] = min(row[0], start)

    def add(self, trace: str, figure: int, loss: float) -> None:
        """Add a call's loss to its trace."""
        row = self._rows[trace]
        row[1 + 2 * figure] += loss
        row[2 + 2 * figure] += 1

    def losses(self, figure: int) -> list[float]:
        """Return the mean loss of each trace that has one, in the order in which they began."""
        place = 1 + 2 * figure
        known = [(row[0], trace, row) for trace, row in self._rows.items() if row[place + 1]]
        known.sort(key=lambda entry: entry[:2])
        return [row[place] / row[place + 1] for _, _, row in known]
