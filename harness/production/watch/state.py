"""State between two looks: a small JSON file with the evidence and the calls counted so far.

Exporters deliver late and files are read again, so the last day's calls are kept by hash and never
counted twice. A call that began before that day, the watermark, is not counted at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import read_record, record_json, write_atomic
from tunegate.harness.records.record import SCHEMA_VERSION, Record, Text
from tunegate.harness.stats.confidence_sequences import ConfidenceSequence
from tunegate.harness.telemetry.read.types import ModelCall


class FigureState(Record):
    """A figure with its promise, and what production has shown so far."""

    name: Text
    says: Text
    kind: str
    n: int
    """Cases of the gate."""
    level: float
    """Share that the gate lost."""
    threshold: float | None = None
    bound: float
    """Largest share that is no reason for an alarm."""
    units: int = 0
    """Traces seen."""
    total: float = 0.0
    """Sum of their losses."""
    wealth: tuple[float, ...] = Field(default=(), repr=False)
    """As `ConfidenceSequence.wealth`; empty before the first unit."""
    peak: float = 0.0
    alarmed: str | None = None
    """When the look was that raised the alarm, ISO 8601; it lasts until a new state is begun."""

    @property
    def stream(self) -> ConfidenceSequence:
        """The evidence as the statistics have it."""
        return (
            ConfidenceSequence(self.units, self.wealth, self.peak)
            if self.units
            else ConfidenceSequence()
        )


MOST_POINTS = 520
"""Looks that a state remembers for its trend: ten years of weeks."""


class TrendPoint(Record):
    """Observations of one look."""

    at: Text
    """Time of the look, ISO 8601."""
    shares: dict[str, tuple[float, int]]
    """Figure → its share in the look's units, and their number."""
    alarms: tuple[Text, ...] = ()
    """Figures whose alarm was first raised by this look."""


class WatchState(Record):
    """Everything a look leaves for the next."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    suite: Text
    suite_sha256: str
    arm: str
    alpha: float
    """Probability of any false alarm, of any figure, as long as the stream runs."""
    figures: tuple[FigureState, ...]
    not_compared: dict[str, Text] = Field(default_factory=dict)
    """Figure → why there is no promise of the gate to hold it against."""
    looks: int = 0
    calls: int = 0
    """Calls counted so far."""
    first_s: float | None = None
    """Start of the earliest call, Unix time."""
    last_s: float | None = None
    """Start of the latest."""
    watermark_s: float | None = None
    """Calls that began before this are not counted any more."""
    recent: dict[str, float] = Field(default_factory=dict, repr=False)
    """Hash of each counted call that began since → its start."""
    conversations: dict[str, float] = Field(
        default_factory=dict, repr=False, exclude_if=lambda known: not known
    )
    """Hash of each counted conversation → start of its last call."""
    trend: tuple[TrendPoint, ...] = Field(
        default=(), repr=False, exclude_if=lambda points: not points
    )
    """The looks so far, the oldest first."""

    @property
    def own_alpha(self) -> float:
        """Error of one figure's gate sample, and as much again of its stream."""
        return self.alpha / max(1, len(self.figures)) / 2


def load_state(path: Path) -> WatchState | None:
    """Read a state; None if there is none yet.

    Raises:
        UsageError: it cannot be read, and why.
    """
    return read_record(path, WatchState) if path.exists() else None


def save_state(path: Path, state: WatchState) -> None:
    """Write a state; readers see the old one or the new.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        write_atomic(path, record_json(state))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def refuse_other(path: Path, state: WatchState, **now: object) -> None:
    """Refuse to go on with a test that was begun about something else.

    Args:
        path: The file, for the message.
        state: What it holds.
        **now: Fields of a state, and `figures`, the names of what is watched, as they are now.

    Raises:
        UsageError: one of them differs.
    """
    names = {figure.name for figure in state.figures} | set(state.not_compared)
    was = {**state.model_dump(include=set(now) - {"figures"}), "figures": sorted(names)}
    for what, value in now.items():
        if value != was[what]:
            raise UsageError(
                f"{path}: was begun with {what}={was[what]!r}, and this look has {value!r}; a "
                "sequential test cannot change what it tests: give another --state FILE"
            )


LATE_S = 86_400.0
"""Seconds that a call may arrive after later ones."""
MOST = 50_000
"""Names kept; if more calls begin in a day, the watermark follows closer."""


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
    """The same of conversations that this look counts first."""

    def is_new(self, call: ModelCall) -> bool:
        """Return whether a call is to be counted, and remember it."""
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

        A conversation is one unit of the test: what was bad about it once is likely to be bad
        again, which would be counted as new evidence.
        """
        if call.conversation is None:
            return False
        name, start = _hash(call.conversation), round(call.span.start_s, 3)
        known = self.conversations if name in self.conversations else self.begun
        known[name] = max(start, known.get(name, start))
        return known is self.conversations

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
        known = {**self.conversations, **self.begun}
        self.conversations = {name: last for name, last in known.items() if last >= mark}
        self.begun = {}


def _name(call: ModelCall) -> str:
    return _hash(f"{call.span.trace_id}:{call.span.span_id}")


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
