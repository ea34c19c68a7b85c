"""Record of a look: watch.json with quiet, alarm or too little."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum

from pydantic import Field

from tunegate.harness.production.watch.indicators import QUANTILE
from tunegate.harness.production.watch.monitor import (
    FigureObservations,
    MonitoringLook,
    format_time,
)
from tunegate.harness.production.watch.state import FigureState
from tunegate.harness.records.record import SCHEMA_VERSION, Record, Text
from tunegate.harness.stats.confidence_sequences import MOST_CALLS, units_needed

METHOD = (
    'bets against "at no time more than the largest share that the gate\'s sample leaves possible" '
    "(Clopper-Pearson, order statistics or betting limits), a mixture over stakes and times of "
    "change: an alarm means that some stretch was above it, not the mean of all; a unit is a "
    "conversation or session where the calls name one, else a trace; the error is divided by "
    "Bonferroni over the figures, half of each part for the gate's sample"
)


class FigureStatus(StrEnum):
    """State of a figure."""

    ALARM = "alarm"
    """Production is worse than the gate's model; it lasts until a new state is begun."""
    QUIET = "quiet"
    """No alarm, and a drop of the size asked for would likely have raised one."""
    TOO_FEW = "too_few"
    """No alarm, and too few units for one to be likely."""
    BLIND = "blind"
    """The gate's sample is too small, or its share too large, for such a drop to ever show."""


class WatchVerdict(StrEnum):
    """Conclusion of a look."""

    QUIET = "QUIET"
    ALARM = "ALARM"
    TOO_LITTLE = "TOO_LITTLE"

    @property
    def exit_code(self) -> int:
        """0 quiet, 1 alarm, 10 too little evidence."""
        return {"QUIET": 0, "ALARM": 1, "TOO_LITTLE": 10}[self.value]


class FigureLook(Record):
    """A figure in this look."""

    name: Text
    says: Text
    status: FigureStatus
    gate: float
    """Share in the gate."""
    gate_n: int
    allowed: float
    """Largest share without an alarm, at any time: not even an hour may be above it."""
    window: float | None
    """Share in the new units; None without any."""
    window_n: int
    """New units with a value."""
    so_far: float | None
    """Share in all units since the state was begun."""
    so_far_n: int
    unscored: int
    """New calls without a value."""
    why_unscored: Text | None
    evidence: float
    """Largest betting wealth so far; from `needed` on it is an alarm."""
    needed: float
    needed_n: int | None
    """Units after which a drop of `drop` would likely raise an alarm."""
    alarmed: str | None
    """Time of the look that raised the alarm."""


class WatchRecord(Record):
    """A look; what is in watch.json."""

    schema_version: int = SCHEMA_VERSION
    verdict: WatchVerdict
    sentence: Text
    run_id: str
    suite: Text
    arm: str
    alpha: float
    """Probability of any false alarm as long as the stream runs."""
    drop: float
    method: str = METHOD
    looks: int
    """Looks of this state, this one included."""
    read: int
    """Calls in the traces."""
    counted: int
    """New calls among them."""
    left_out: dict[str, int]
    """Reason for not counting the others → how many."""
    models: dict[str, int]
    first: str | None
    """Start of the earliest call counted now, ISO 8601."""
    last: str | None
    figures: tuple[FigureLook, ...]
    not_compared: dict[str, Text] = Field(default_factory=dict)
    not_seen: tuple[Text, ...] = ()
    """Changes that no figure of this look could have shown."""
    reading: tuple[Text, ...] = ()
    """Unreadable parts of the files, with the first place of each."""


def watch_record(
    look: MonitoringLook,
    *,
    drop: float,
    reading: tuple[str, ...] = (),
    judged: Collection[str] = (),
) -> WatchRecord:
    """Return the record of a look.

    `drop` is the worsening, as a share of units, that "quiet" rules out; `reading` has problems
    with the files, `judged` the figures that a judge or people score.
    """
    state, tally = look.state, look.tally
    looks = tuple(
        _figure(kept, look.shown[kept.name], state.own_alpha, drop) for kept in state.figures
    )
    verdict = _verdict(looks, tally.counted)
    return WatchRecord(
        verdict=verdict,
        sentence=_sentence(verdict, looks, tally.counted, drop),
        run_id=state.run_id,
        suite=state.suite,
        arm=state.arm,
        alpha=state.alpha,
        drop=drop,
        looks=state.looks,
        read=tally.read,
        counted=tally.counted,
        left_out={why: count for why, count in sorted(tally.left_out.items()) if count},
        models=dict(sorted(tally.models.items())),
        first=None if tally.first_s is None else format_time(tally.first_s),
        last=None if tally.last_s is None else format_time(tally.last_s),
        figures=looks,
        not_compared=state.not_compared,
        not_seen=tuple(_blind_spots(looks, state.not_compared, drop, judged=judged)),
        reading=reading,
    )


def _blind_spots(
    looks: Sequence[FigureLook],
    not_compared: Mapping[str, str],
    drop: float,
    *,
    judged: Collection[str],
) -> Iterator[str]:
    """Yield what could be wrong with production without showing in this look."""
    if not any(figure.name in judged for figure in looks):
        yield (
            "whether answers are right: no figure reads what they say; --judge SPEC scores a "
            "sample of them, --feedback what users reported"
        )
    blind = [figure.name for figure in looks if figure.status is FigureStatus.BLIND]
    if blind:
        yield f"{', '.join(blind)}: the gate has too few cases, or is too bad itself, to show it"
    dark = [f.name for f in looks if f.unscored and f.unscored >= f.window_n]
    if dark:
        yield f"{', '.join(dark)}: at least half of the new calls have no value"
    if not_compared:
        yield f"{', '.join(not_compared)}: the gate has no value to compare with"
    yield (
        f"worsening by less than {_points(drop)} of all calls, even if some of them got much "
        "worse; watch a part by itself with --where, --model and its own --state"
    )


def _figure(
    kept: FigureState, shown: FigureObservations, own_alpha: float, drop: float
) -> FigureLook:
    needed = units_needed(_worse(kept, drop), bound=kept.bound, alpha=own_alpha, filled=MOST_CALLS)
    return FigureLook(
        name=kept.name,
        says=kept.says,
        status=_status(kept, needed),
        gate=_round(kept.level),
        gate_n=kept.n,
        allowed=_round(kept.bound),
        window=None if shown.share is None else _round(shown.share),
        window_n=len(shown.losses),
        so_far=_round(kept.total / kept.calls) if kept.calls else None,
        so_far_n=kept.units,
        unscored=shown.unscored,
        why_unscored=shown.why,
        evidence=_round(math.exp(min(kept.peak, 200.0))),
        needed=_round(1 / own_alpha),
        needed_n=needed,
        alarmed=kept.alarmed,
    )


def _worse(kept: FigureState, drop: float) -> float:
    """Return the share that a look should tell from the gate's.

    For an outermost tenth it is a tenth plus twice the drop: 30 % by default, as after a shift by
    about three quarters of the gate's standard deviation.
    """
    level = kept.level + drop if kept.threshold is None else 1 - QUANTILE + 2 * drop
    return min(1.0, level)


def _status(kept: FigureState, needed: int | None) -> FigureStatus:
    if kept.alarmed is not None:
        return FigureStatus.ALARM
    if needed is None:
        return FigureStatus.BLIND
    return FigureStatus.QUIET if kept.units >= needed else FigureStatus.TOO_FEW


def _verdict(looks: tuple[FigureLook, ...], counted: int) -> WatchVerdict:
    statuses = {figure.status for figure in looks}
    if FigureStatus.ALARM in statuses:
        return WatchVerdict.ALARM
    if not counted or FigureStatus.TOO_FEW in statuses or FigureStatus.QUIET not in statuses:
        return WatchVerdict.TOO_LITTLE
    return WatchVerdict.QUIET


def _sentence(
    verdict: WatchVerdict, looks: tuple[FigureLook, ...], counted: int, drop: float
) -> str:
    if verdict is WatchVerdict.ALARM:
        return "; ".join(
            alarm_sentence(figure) for figure in looks if figure.status is FigureStatus.ALARM
        )
    if not counted:
        return "no new calls: is production still traced?"
    if verdict is WatchVerdict.TOO_LITTLE:
        waiting = [f for f in looks if f.status is FigureStatus.TOO_FEW and f.needed_n is not None]
        if not waiting:
            return "no figure can be compared with the gate's"
        last = max(waiting, key=lambda f: (f.needed_n or 0) - f.so_far_n)
        return (
            f"no alarm so far; {last.name} has {last.so_far_n} of about {last.needed_n} units "
            f"in which it would show if it were worse by {_points(drop)}"
        )
    return f"no figure is worse than the gate's; one worse by {_points(drop)} would likely show"


def alarm_sentence(figure: FigureLook) -> str:
    """Return what is worse in production, and than what."""
    gate = (
        f"compared with {format_percent(figure.gate)} of {figure.gate_n} cases in the gate; "
        if figure.gate_n
        else ""
    )
    return (
        f"{figure.says}: {format_percent(figure.window)} of {figure.window_n} new units and "
        f"{format_percent(figure.so_far)} of all {figure.so_far_n}, {gate}at some time more than "
        f"the {format_percent(figure.allowed)} that they allow (first alarm {figure.alarmed})"
    )


def _points(drop: float) -> str:
    return f"{100 * drop:.3g} points"


def format_percent(share: float | None) -> str:
    """Return a share as a percentage; a dash if it is None."""
    return "–" if share is None else f"{100 * share:.3g} %"


def _round(value: float) -> float:
    return float(f"{value:.6g}")
