"""One look: calls in, the state after them and a record of what they showed out."""

from __future__ import annotations

import datetime
import hashlib
import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.records import Score
from harness.stats.stream import follow
from harness.tracing.call import Call
from harness.tracing.watch.answered import Answered, answered
from harness.tracing.watch.figures import Figure
from harness.tracing.watch.seen import Seen
from harness.tracing.watch.state import FigureState, WatchState
from harness.tracing.watch.window import Tally, Window, refuse_mixed, taken

Judging = Callable[[Sequence[Answered]], Sequence[Mapping[str, Score]]]
"""Answers → for each of them, the score of every judged figure by its name."""


@dataclass
class Unit:
    """What one trace showed of one figure: its calls count together."""

    total: float = 0.0
    calls: int = 0


@dataclass
class Shown:
    """What the calls of a look showed of one figure."""

    units: dict[str, Unit] = field(default_factory=dict)
    """Trace → its losses."""
    unscored: int = 0
    why: str | None = None
    """Why the first of them is unscored."""

    def add(self, trace: str, score: Score, loss: float | None) -> None:
        """Add a call of a trace."""
        if loss is None:
            self.unscored += 1
            self.why = self.why or score.reason
            return
        unit = self.units.setdefault(trace, Unit())
        unit.total += loss
        unit.calls += 1


@dataclass(frozen=True)
class Look:
    """What came of a look."""

    state: WatchState
    """For the next one."""
    shown: Mapping[str, Shown]
    """Figure → what the new calls showed."""
    tally: Tally


@dataclass(frozen=True)
class Sample:
    """Which of the answers a judge is to see."""

    judge: Judging
    figures: tuple[Figure, ...]
    size: int
    """Answers a look, drawn by the hash of their names: whatever they are like."""


def look(
    state: WatchState,
    figures: Sequence[Figure],
    calls: Iterable[Call],
    window: Window,
    *,
    sample: Sample | None = None,
) -> Look:
    """Count the new calls of the traces.

    Args:
        state: What earlier looks left.
        figures: What is watched, judged figures left out.
        calls: The calls of the traces, in any order; memory holds a few numbers of each.
        window: Which of them.
        sample: Who judges some of them; None asks no judge.

    Raises:
        UsageError: the calls are of several models, and nothing says which is the shipped one.
    """
    seen, tally = Seen(state.watermark_s, dict(state.recent)), Tally()
    promised = {figure.name: figure for figure in state.figures}
    compared = [figure for figure in figures if figure.name in promised]
    shown = {name: Shown() for name in promised}
    starts: dict[str, float] = {}
    drawn = _Draw(sample.size if sample is not None else 0)
    for call in taken(calls, window, seen, tally):
        one, start = answered(call), call.span.start_s
        trace = one.case.cluster or one.case.id
        starts[trace] = min(start, starts.get(trace, start))
        drawn.offer(one)
        for figure in compared:
            _add(shown[figure.name], figure, promised[figure.name], trace, figure.measure(one))
    refuse_mixed(tally, window)
    tally.left_out.update({"counted before": seen.twice, "begun before the watermark": seen.late})
    if sample is not None and drawn.answers:
        for one, scores in zip(drawn.answers, sample.judge(drawn.answers), strict=True):
            for figure in sample.figures:
                if figure.name in promised:
                    kept, score = promised[figure.name], scores[figure.name]
                    trace = one.case.cluster or one.case.id
                    _add(shown[figure.name], figure, kept, trace, score)
    seen.settle()
    after = _after(state, shown, starts, seen, tally)
    return Look(_alarmed(after, window.now_s), shown, tally)


def _add(shown: Shown, figure: Figure, kept: FigureState, trace: str, score: Score) -> None:
    loss = None if score.value is None else figure.loss(score.value, kept.threshold)
    shown.add(trace, score, loss)


def _after(
    state: WatchState,
    shown: Mapping[str, Shown],
    starts: Mapping[str, float],
    seen: Seen,
    tally: Tally,
) -> WatchState:
    order = sorted(starts, key=lambda trace: (starts[trace], trace))
    figures = tuple(_followed(kept, shown[kept.name], order) for kept in state.figures)
    return state.model_copy(
        update={
            "figures": figures,
            "looks": state.looks + 1,
            "calls": state.calls + tally.counted,
            "first_s": min((s for s in (state.first_s, tally.first_s) if s), default=None),
            "last_s": max((s for s in (state.last_s, tally.last_s) if s), default=None),
            "watermark_s": seen.watermark_s,
            "recent": seen.names,
        }
    )


def _followed(kept: FigureState, shown: Shown, order: Sequence[str]) -> FigureState:
    """Return a figure after the traces of a look, in the order in which they began."""
    units = [shown.units[trace] for trace in order if trace in shown.units]
    losses = [unit.total / unit.calls for unit in units]
    stream = follow(kept.stream, losses, bound=kept.bound)
    return kept.model_copy(
        update={
            "units": stream.units,
            "total": kept.total + sum(losses),
            "wealth": stream.wealth if stream.units else (),
            "peak": stream.peak,
        }
    )


def _alarmed(state: WatchState, now_s: float) -> WatchState:
    """Return the state with the alarms of this look; earlier ones stand."""
    needed = math.log(1 / state.own_alpha)
    figures = tuple(
        figure.model_copy(update={"alarmed": iso(now_s)})
        if figure.alarmed is None and figure.peak >= needed
        else figure
        for figure in state.figures
    )
    return state.model_copy(update={"figures": figures})


def iso(seconds: float) -> str:
    """Return a Unix time as ISO 8601 in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


class _Draw:
    """The answers whose names have the smallest hashes: a sample that their content cannot bias."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, str, Answered]] = []

    def offer(self, one: Answered) -> None:
        """Take an answer into the sample if its turn is drawn."""
        if not self._size or one.completion is None or one.completion.text is None:
            return
        number = int(hashlib.sha256(one.case.id.encode("utf-8", "replace")).hexdigest()[:15], 16)
        entry = (-number, one.case.id, one)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    @property
    def answers(self) -> list[Answered]:
        """The sample, in the order of the names."""
        return [one for _, _, one in sorted(self._heap, key=lambda entry: entry[1])]
