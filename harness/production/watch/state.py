"""State between two looks: a small JSON file with the evidence and the calls counted so far."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tunegate.harness.records.errors import UsageError, refuse_unwritable
from tunegate.harness.records.files import read_record, record_json, write_atomic
from tunegate.harness.records.record import SCHEMA_VERSION, Record, Text
from tunegate.harness.stats.confidence_sequences import ConfidenceSequence


class FigureState(Record):
    """A figure with the gate's bound, and what production has shown so far."""

    name: Text
    says: Text
    kind: str
    n: int
    """Cases of the gate."""
    level: float
    """Share that the gate lost."""
    threshold: float | None = None
    bound: float
    """Largest share without an alarm."""
    units: int = 0
    """Conversations or traces seen."""
    calls: int = 0
    """Their calls, at most ten of each."""
    total: float = 0.0
    """Sum of the losses of these calls."""
    wealth: tuple[float, ...] = Field(default=(), repr=False)
    """As `ConfidenceSequence.wealth`; empty before the first unit."""
    peak: float = 0.0
    alarmed: str | None = None
    """Time of the look that raised the alarm, ISO 8601; the alarm lasts as long as the state."""

    @property
    def stream(self) -> ConfidenceSequence:
        """The evidence as a confidence sequence."""
        return (
            ConfidenceSequence(self.units, self.wealth, self.peak)
            if self.units
            else ConfidenceSequence()
        )


MOST_POINTS = 520
"""Looks kept for the trend: ten years of weeks."""


class TrendPoint(Record):
    """Observations of one look."""

    at: Text
    """Time of the look, ISO 8601."""
    shares: dict[str, tuple[float, int]]
    """Figure → its share in the look's units, and their number."""
    alarms: tuple[Text, ...] = ()
    """Figures whose alarm was first raised by this look."""


class WatchState(Record):
    """Everything that a look leaves for the next."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    suite: Text
    suite_sha256: str
    arm: str
    alpha: float
    """Probability of any false alarm, of any figure, as long as the stream runs."""
    figures: tuple[FigureState, ...]
    not_compared: dict[str, Text] = Field(default_factory=dict)
    """Figure → why the gate gives nothing to compare it with."""
    looks: int = 0
    calls: int = 0
    """Calls counted so far."""
    first_s: float | None = None
    """Start of the earliest call, Unix time."""
    last_s: float | None = None
    """Start of the latest."""
    watermark_s: float | None = None
    """Calls that began earlier are not counted."""
    recent: dict[str, float] = Field(default_factory=dict, repr=False)
    """Hash of each counted call since the watermark → its start."""
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
        """Error allowed for one figure's gate sample; its stream has as much again."""
        return self.alpha / max(1, len(self.figures)) / 2


def load_state(path: Path) -> WatchState | None:
    """Read a state; None if the file does not exist yet."""
    return read_record(path, WatchState) if path.exists() else None


def save_state(path: Path, state: WatchState) -> None:
    """Write a state atomically."""
    with refuse_unwritable(path, "choose another with --state FILE"):
        write_atomic(path, record_json(state))


def refuse_other(path: Path, state: WatchState, **now: object) -> None:
    """Refuse to continue a test that was begun with other fields `now` or other `figures`."""
    names = {figure.name for figure in state.figures} | set(state.not_compared)
    was = {**state.model_dump(include=set(now) - {"figures"}), "figures": sorted(names)}
    for what, value in now.items():
        if value != was[what]:
            raise UsageError(
                f"{path}: was begun with {what}={was[what]!r}, and this look has {value!r}; a "
                "sequential test cannot change what it tests: give another --state FILE"
            )
