"""Monitor: one look at a window of new calls; state in, state and record out."""

from __future__ import annotations

import datetime
import hashlib
import heapq
import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tunegate.harness.production.watch.baseline import (
    BaselineAnswers,
    ProductionBaseline,
    production_baseline,
)
from tunegate.harness.production.watch.indicators import AnsweredCase, MonitoredFigure, case_of_call
from tunegate.harness.production.watch.state import (
    MOST_POINTS,
    CountedCalls,
    FigureState,
    TrendPoint,
    WatchState,
)
from tunegate.harness.records.errors import UsageError, unknown_name_message
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.scores import Score
from tunegate.harness.stats.confidence_sequences import update_sequence
from tunegate.harness.suite import Suite
from tunegate.harness.telemetry.read.types import ModelCall

AHEAD_S = 3600.0
"""Seconds that another machine's clock may be ahead of this one's."""


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Options of a look."""

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
    """Counts of the calls that were read."""

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
    """Refuse calls of several models where it is unknown which of them shipped.

    Raises:
        UsageError: with the models and how often each was called.
    """
    if len(tally.models) > 1 and not window.models:
        found = ", ".join(f"{name} ({count})" for name, count in tally.models.most_common(6))
        raise UsageError(
            f"the traces hold calls of {len(tally.models)} models: {found}; name the "
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
    """A row for each unit: its start, and of each figure the sum of its losses and their number.

    A unit is a conversation (or session) where the calls name one, else a trace.
    """

    def __init__(self, figures: int) -> None:
        """Make room for so many figures."""
        self._width = 1 + 2 * figures
        self._rows: dict[str, array[float]] = {}

    def begin(self, trace: str, start: float) -> None:
        """Note a call of a trace; the trace began with the earliest one."""
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


Judging = Callable[[Sequence[AnsweredCase]], Sequence[Mapping[str, Score]]]
"""Answers → for each of them, the score of every judged figure by its name."""


@dataclass
class FigureObservations:
    """Observations of one figure in the calls of a look."""

    losses: list[float] = field(default_factory=list)
    """One for each unit, whose calls count together, in the order in which the units began."""
    unscored: int = 0
    """Calls in which it is unknown."""
    why: str | None = None
    """Why the first of them could not."""


@dataclass(frozen=True)
class MonitoringLook:
    """Result of a look."""

    state: WatchState
    """For the next one."""
    shown: Mapping[str, FigureObservations]
    """Figure → what the new calls showed."""
    tally: CallTally


@dataclass(frozen=True)
class JudgeSample:
    """Which of the answers a judge is to see."""

    judge: Judging
    figures: tuple[MonitoredFigure, ...]
    size: int
    """Answers a look, drawn by the hash of their names: whatever they are like."""


def update_state(
    state: WatchState,
    figures: Sequence[MonitoredFigure],
    calls: Iterable[ModelCall],
    window: TimeWindow,
    *,
    sample: JudgeSample | None = None,
) -> MonitoringLook:
    """Count the new calls of the traces.

    Args:
        state: What earlier looks left.
        figures: What is watched, judged figures left out.
        calls: The calls of the traces, in any order; memory holds a few numbers of each.
        window: Which of them.
        sample: Who judges some of them; None asks no judge.

    Raises:
        UsageError: the calls are of several models, and it is unknown which is the shipped one.
    """
    seen = CountedCalls(state.watermark_s, dict(state.recent), dict(state.conversations))
    tally = CallTally()
    board = _LookAccumulator(state.figures)
    drawn = _HashSample(sample.size if sample is not None else 0)
    for call in select_calls(calls, window, seen, tally):
        one = case_of_call(call)
        drawn.offer(one)
        board.units.begin(_trace(one), call.span.start_s)
        for figure in figures:
            if figure.name in board.places:
                board.add(figure, one, figure.measure(one))
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
    """Return the figures whose alarm came between two states."""
    known = {figure.name for figure in before.figures if figure.alarmed is not None}
    return tuple(f.name for f in after.figures if f.alarmed is not None and f.name not in known)


def _remember(
    state: WatchState,
    before: WatchState,
    shown: Mapping[str, FigureObservations],
    now_s: float,
) -> WatchState:
    """Return the state with this look in its trend; looks without a call leave no trace."""
    shares = {
        name: (sum(seen.losses) / len(seen.losses), len(seen.losses))
        for name, seen in shown.items()
        if seen.losses
    }
    if not shares:
        return state
    alarms = new_alarms(before, state)
    point = TrendPoint(at=format_time(now_s), shares=shares, alarms=alarms)
    return state.model_copy(update={"trend": (*state.trend, point)[-MOST_POINTS:]})


def _judge(sample: JudgeSample, answers: Sequence[AnsweredCase], board: _LookAccumulator) -> None:
    asked = [figure for figure in sample.figures if figure.name in board.places]
    if asked and answers:
        for one, scores in zip(answers, sample.judge(answers), strict=True):
            for figure in asked:
                board.add(figure, one, scores[figure.name])


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

    def add(self, figure: MonitoredFigure, one: AnsweredCase, score: Score) -> None:
        """Add a call's score."""
        place = self.places[figure.name]
        if score.value is None:
            self._unscored[place] += 1
            self._why[place] = self._why[place] or score.reason
        else:
            loss = figure.loss(score.value, self._kept[place].threshold)
            self.units.add(_trace(one), place, loss)

    def shown(self) -> dict[str, FigureObservations]:
        """Return what every figure showed."""
        return {
            name: FigureObservations(
                self.units.losses(place), self._unscored[place], self._why[place]
            )
            for name, place in self.places.items()
        }


def _after(
    state: WatchState, shown: Mapping[str, FigureObservations], seen: CountedCalls, tally: CallTally
) -> WatchState:
    figures = tuple(_update_figure(kept, shown[kept.name].losses) for kept in state.figures)
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


def _update_figure(kept: FigureState, losses: Sequence[float]) -> FigureState:
    """Return a figure after the traces of a look."""
    stream = update_sequence(kept.stream, losses, bound=kept.bound)
    return kept.model_copy(
        update={
            "units": stream.units,
            "total": kept.total + sum(losses),
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
    """Return a Unix time as ISO 8601 in UTC, one that no calendar has as its seconds."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):  # beyond the year 9999
        return f"{seconds:g} s"
    return moment.isoformat(timespec="seconds")


class _HashSample:
    """The answers whose names have the smallest hashes: a sample that their content cannot bias."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, str, AnsweredCase]] = []

    def offer(self, one: AnsweredCase) -> None:
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
    def answers(self) -> list[AnsweredCase]:
        """The sample, in the order of the names."""
        return [one for _, _, one in sorted(self._heap, key=lambda entry: entry[1])]


def initial_state(
    run: Run, suite: Suite, arm: str, figures: Sequence[MonitoredFigure], alpha: float
) -> WatchState:
    """Return the state before the first call.

    The error is split equally among the figures (Bonferroni); half of each share goes to the gate's
    sample and half to the stream.

    Args:
        run: The run that shipped.
        suite: The suite whose answers production is compared with.
        arm: The arm that shipped.
        figures: What is to be watched.
        alpha: Probability of any false alarm, as long as the stream runs.
    """
    gated = BaselineAnswers(run, suite.name, arm)
    told = [figure for figure in figures if figure.allowed is not None]
    units = {figure.name: [] if figure in told else gated.units(figure) for figure in figures}
    compared = [figure for figure in figures if units[figure.name] or figure in told]
    own = alpha / max(1, len(compared)) / 2
    states = []
    for figure in compared:
        if figure.allowed is not None:
            promise = ProductionBaseline(0, figure.allowed, None, figure.allowed)
        else:
            promise = production_baseline(figure, units[figure.name], own)
        states.append(
            FigureState(
                name=figure.name,
                says=figure.says,
                kind=figure.kind.value,
                n=promise.n,
                level=promise.level,
                threshold=promise.threshold,
                bound=promise.bound,
            )
        )
    return WatchState(
        run_id=run.manifest.run_id,
        suite=suite.name,
        suite_sha256=suite.hash,
        arm=arm,
        alpha=alpha,
        figures=tuple(states),
        not_compared={f.name: _missing_reason(f) for f in figures if f not in compared},
    )


def select_figures(
    figures: Sequence[MonitoredFigure], names: Sequence[str]
) -> list[MonitoredFigure]:
    """Return the figures of these names; all of them where none is named.

    Raises:
        UsageError: there is none of a name.
    """
    known = {figure.name: figure for figure in figures}
    for name in names:
        if name not in known:
            raise UsageError(unknown_name_message(name, tuple(known), what="figure"))
    return [known[name] for name in dict.fromkeys(names)] if names else list(figures)


def _missing_reason(figure: MonitoredFigure) -> str:
    if figure.missing:
        return figure.missing
    if figure.times:
        return (
            "the gate timed no answers one at a time; the metric latency in the suite has it do so"
        )
    if figure.metric is not None and figure.metric.judge is not None:
        return "the gate has no scores of this judge; `tunegate judge run` adds them"
    return "the gate's answers have no such value"
