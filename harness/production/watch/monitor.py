"""One look at new calls: from a state and calls to the next state."""

from __future__ import annotations

import datetime
import hashlib
import heapq
import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tunegate.harness.production.watch.answered_case import AnsweredCase, case_of_call
from tunegate.harness.production.watch.counted_calls import (
    CallTally,
    CountedCalls,
    TimeWindow,
    refuse_mixed,
    select_calls,
)
from tunegate.harness.production.watch.indicators import MonitoredFigure
from tunegate.harness.production.watch.state import MOST_POINTS, FigureState, TrendPoint, WatchState
from tunegate.harness.records.scores import Score
from tunegate.harness.stats.confidence_sequences import (
    MOST_CALLS,
    filled_units,
    update_sequence,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall


class TraceUnits:
    """A row for each unit: its start, and of each figure the sum of its losses and their number.

    A unit is a conversation (or session) if the calls name one, else a trace.
    """

    def __init__(self, figures: int) -> None:
        self._width = 1 + 2 * figures
        self._rows: dict[str, array[float]] = {}

    def begin(self, trace: str, start: float) -> None:
        """Record a call of a trace; the trace began with its earliest call."""
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

    def losses(self, figure: int) -> tuple[list[float], list[int]]:
        """Return mean loss and calls of each trace with a loss, in the order in which they began.

        Calls beyond `MOST_CALLS` are not counted.
        """
        place = 1 + 2 * figure
        measured = [(row[0], trace, row) for trace, row in self._rows.items() if row[place + 1]]
        measured.sort(key=lambda entry: entry[:2])
        counts = [min(int(row[place + 1]), MOST_CALLS) for _, _, row in measured]
        return [row[place] / row[place + 1] for _, _, row in measured], counts


Judging = Callable[[Sequence[AnsweredCase]], Sequence[Mapping[str, Score]]]
"""Answers → for each, the scores of the judged figures by name."""


@dataclass
class FigureObservations:
    """Observations of one figure in the calls of a look."""

    losses: list[float] = field(default_factory=list)
    """The mean loss of each unit, in the order in which the units began."""
    calls: list[int] = field(default_factory=list)
    """How many calls each unit counts with."""
    unscored: int = 0
    """Calls without a value."""
    why: str | None = None
    """The reason for the first of them."""

    @property
    def total(self) -> float:
        """Loss of all calls."""
        return sum(loss * calls for loss, calls in zip(self.losses, self.calls, strict=True))

    @property
    def share(self) -> float | None:
        """Mean loss of the calls; None without calls."""
        return self.total / sum(self.calls) if self.calls else None


@dataclass(frozen=True)
class MonitoringLook:
    """Result of a look."""

    state: WatchState
    """For the next look."""
    shown: Mapping[str, FigureObservations]
    """Figure → what the new calls showed."""
    tally: CallTally


@dataclass(frozen=True)
class JudgeSample:
    """Which answers a judge sees."""

    judge: Judging
    figures: tuple[MonitoredFigure, ...]
    size: int
    """Answers per look, drawn by the hash of their names, independent of their content."""


def update_state(
    state: WatchState,
    figures: Sequence[MonitoredFigure],
    calls: Iterable[ModelCall],
    window: TimeWindow,
    *,
    sample: JudgeSample | None = None,
) -> MonitoringLook:
    """Count new calls, which may come in any order; a few numbers of each are held in memory.

    `figures` are those that need no judge.
    """
    seen = CountedCalls(state.watermark_s, dict(state.recent), dict(state.conversations))
    tally = CallTally()
    board = _LookAccumulator(state.figures)
    drawn = _HashSample(sample.size if sample is not None else 0)
    for call in select_calls(calls, window, seen, tally):
        answered = case_of_call(call)
        drawn.offer(answered)
        board.units.begin(_trace(answered), call.span.start_s)
        for figure in figures:
            if figure.name in board.places:
                board.add(figure, answered, figure.measure(answered))
    refuse_mixed(tally, window)
    tally.left_out.update({"counted before": seen.twice, "begun before the watermark": seen.late})
    if sample is not None:
        _judge(sample, drawn.answers, board)
    seen.settle()
    shown = board.shown()
    after = _after(state, shown, seen, tally)
    ended = _remember(_raise_alarms(after, window.now_s), state, shown, window.now_s)
    return MonitoringLook(ended, shown, tally)


def new_alarms(before: WatchState, after: WatchState) -> tuple[str, ...]:
    """Return the figures that raised an alarm between two states."""
    known = {figure.name for figure in before.figures if figure.alarmed is not None}
    return tuple(f.name for f in after.figures if f.alarmed is not None and f.name not in known)


def _remember(
    state: WatchState,
    before: WatchState,
    shown: Mapping[str, FigureObservations],
    now_s: float,
) -> WatchState:
    """Return the state with this look in its trend; looks without calls are left out."""
    shares = {
        name: (seen.share, len(seen.losses))
        for name, seen in shown.items()
        if seen.share is not None
    }
    if not shares:
        return state
    alarms = new_alarms(before, state)
    point = TrendPoint(at=format_time(now_s), shares=shares, alarms=alarms)
    return state.model_copy(update={"trend": (*state.trend, point)[-MOST_POINTS:]})


def _judge(sample: JudgeSample, answers: Sequence[AnsweredCase], board: _LookAccumulator) -> None:
    judged = [figure for figure in sample.figures if figure.name in board.places]
    if judged and answers:
        for answered, scores in zip(answers, sample.judge(answers), strict=True):
            for figure in judged:
                board.add(figure, answered, scores[figure.name])


def _trace(one: AnsweredCase) -> str:
    return one.case.cluster or one.case.id


class _LookAccumulator:
    """Running observations of the calls of a look."""

    def __init__(self, kept: Sequence[FigureState]) -> None:
        self._kept = kept
        self.places = {figure.name: number for number, figure in enumerate(kept)}
        self.units = TraceUnits(len(kept))
        self._unscored = [0] * len(kept)
        self._why: list[str | None] = [None] * len(kept)

    def add(self, figure: MonitoredFigure, answered: AnsweredCase, score: Score) -> None:
        """Add a call's score."""
        place = self.places[figure.name]
        if score.value is None:
            self._unscored[place] += 1
            self._why[place] = self._why[place] or score.reason
        else:
            loss = figure.loss(score.value, self._kept[place].threshold)
            self.units.add(_trace(answered), place, loss)

    def shown(self) -> dict[str, FigureObservations]:
        """Return the observations of every figure."""
        return {
            name: FigureObservations(
                *self.units.losses(place), self._unscored[place], self._why[place]
            )
            for name, place in self.places.items()
        }


def _after(
    state: WatchState, shown: Mapping[str, FigureObservations], seen: CountedCalls, tally: CallTally
) -> WatchState:
    figures = tuple(_update_figure(kept, shown[kept.name]) for kept in state.figures)
    return state.model_copy(
        update={
            "figures": figures,
            "looks": state.looks + 1,
            "calls": state.calls + tally.counted,
            "first_s": min((s for s in (state.first_s, tally.first_s) if s), default=None),
            "last_s": max((s for s in (state.last_s, tally.last_s) if s), default=None),
            "watermark_s": seen.watermark_s,
            "recent": seen.names,
            "conversations": seen.conversations,
        }
    )


def _update_figure(kept: FigureState, shown: FigureObservations) -> FigureState:
    values = filled_units(shown.losses, shown.calls, bound=kept.bound)
    stream = update_sequence(kept.stream, values, bound=kept.bound)
    return kept.model_copy(
        update={
            "units": stream.units,
            "calls": kept.calls + sum(shown.calls),
            "total": kept.total + shown.total,
            "wealth": stream.wealth if stream.units else (),
            "peak": stream.peak,
        }
    )


def _raise_alarms(state: WatchState, now_s: float) -> WatchState:
    """Return the state with the alarms of this look; earlier ones are kept."""
    needed = math.log(1 / state.own_alpha)
    figures = tuple(
        figure.model_copy(update={"alarmed": format_time(now_s)})
        if figure.alarmed is None and figure.peak >= needed
        else figure
        for figure in state.figures
    )
    return state.model_copy(update={"figures": figures})


def format_time(seconds: float) -> str:
    """Return a Unix time as ISO 8601 in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


class _HashSample:
    """The answers whose names have the smallest hashes, so that content cannot bias the sample."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, str, AnsweredCase]] = []

    def offer(self, answered: AnsweredCase) -> None:
        """Take an answer into the sample if its hash is small enough."""
        if not self._size or answered.completion is None or answered.completion.text is None:
            return
        number = int(
            hashlib.sha256(answered.case.id.encode("utf-8", "replace")).hexdigest()[:15], 16
        )
        entry = (-number, answered.case.id, answered)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    @property
    def answers(self) -> list[AnsweredCase]:
        """The sample, in the order of the names."""
        return [one for _, _, one in sorted(self._heap, key=lambda entry: entry[1])]
