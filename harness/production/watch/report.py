"""Report of a look: watch.json with quiet, alarm or too little, and a Markdown summary."""

from __future__ import annotations

import http.client
import json
import math
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from tunegate.harness.production.watch.indicators import QUANTILE
from tunegate.harness.production.watch.monitor import (
    FigureObservations,
    MonitoringLook,
    format_time,
)
from tunegate.harness.production.watch.state import FigureState
from tunegate.harness.records.record import SCHEMA_VERSION, Record, Text
from tunegate.harness.stats.confidence_sequences import units_needed

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
    """No alarm, and too few units for one."""
    BLIND = "blind"
    """The gate's sample is too small, or its own share too large, to ever show such a drop."""


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
    """Largest share that is no reason for an alarm, at any time: no hour may be above it."""
    window: float | None
    """Share in the new units; None without any."""
    window_n: int
    """New units in which it is known."""
    so_far: float | None
    """Share in all units since the state was begun."""
    so_far_n: int
    unscored: int
    """New calls in which it is unknown."""
    why_unscored: Text | None
    evidence: float
    """Largest so far: how many times as likely as not by chance; an alarm from `needed` on."""
    needed: float
    needed_n: int | None
    """Units after which a drop of the size asked for likely raises an alarm."""
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
    """Calls that the traces hold."""
    counted: int
    """Of them, new ones that were counted now."""
    left_out: dict[str, int]
    """Why others were not → how many."""
    models: dict[str, int]
    first: str | None
    """Start of the earliest call counted now, ISO 8601."""
    last: str | None
    figures: tuple[FigureLook, ...]
    not_compared: dict[str, Text] = Field(default_factory=dict)
    not_seen: tuple[Text, ...] = ()
    """Changes that no figure of this look could have shown."""
    reading: tuple[Text, ...] = ()
    """Unreadable parts of the files, and the first place."""


def watch_record(
    found: MonitoringLook,
    *,
    drop: float,
    reading: tuple[str, ...] = (),
    judged: Collection[str] = (),
) -> WatchRecord:
    """Return the record of a look.

    Args:
        found: The look.
        drop: Worsening, as a share of units, that "quiet" rules out.
        reading: Problems with the files.
        judged: Figures that a judge or people score.
    """
    state, tally = found.state, found.tally
    looks = tuple(
        _figure(kept, found.shown[kept.name], state.own_alpha, drop) for kept in state.figures
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
    """Yield what could be wrong with production and would not show in this look."""
    if not any(figure.name in judged for figure in looks):
        yield (
            "whether answers are right: no figure reads what they say; --judge SPEC scores a "
            "sample of them, --feedback what users reported"
        )
    blind = [figure.name for figure in looks if figure.status is FigureStatus.BLIND]
    if blind:
        yield f"{', '.join(blind)}: the gate has too few cases, or is itself too bad, to show"
    dark = [f.name for f in looks if f.unscored and f.unscored >= f.window_n]
    if dark:
        yield f"{', '.join(dark)}: at least half of the new calls show no value"
    if not_compared:
        yield f"{', '.join(not_compared)}: the gate shows no value to compare with"
    yield (
        f"worsenings by less than {_points(drop)}, and those of a part of the calls that are less "
        "than that of all; watch a part by itself with --where, --model and a --state of its own"
    )


def _figure(kept: FigureState, shown: FigureObservations, own: float, drop: float) -> FigureLook:
    losses = shown.losses
    needed = units_needed(_worse(kept, drop), bound=kept.bound, alpha=own)
    return FigureLook(
        name=kept.name,
        says=kept.says,
        status=_status(kept, needed),
        gate=_round(kept.level),
        gate_n=kept.n,
        allowed=_round(kept.bound),
        window=_round(sum(losses) / len(losses)) if losses else None,
        window_n=len(losses),
        so_far=_round(kept.total / kept.units) if kept.units else None,
        so_far_n=kept.units,
        unscored=shown.unscored,
        why_unscored=shown.why,
        evidence=_round(math.exp(min(kept.peak, 200.0))),
        needed=_round(1 / own),
        needed_n=needed,
        alarmed=kept.alarmed,
    )


def _worse(kept: FigureState, drop: float) -> float:
    """Return the share that is to be separated from the gate's.

    Of an outermost tenth it is a tenth and twice the drop: 30 % by default, which is what a shift
    by about three quarters of the gate's standard deviation makes of it.
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
    found = {figure.status for figure in looks}
    if FigureStatus.ALARM in found:
        return WatchVerdict.ALARM
    if not counted or FigureStatus.TOO_FEW in found or FigureStatus.QUIET not in found:
        return WatchVerdict.TOO_LITTLE
    return WatchVerdict.QUIET


def _sentence(
    verdict: WatchVerdict, looks: tuple[FigureLook, ...], counted: int, drop: float
) -> str:
    if verdict is WatchVerdict.ALARM:
        return "; ".join(_alarm(figure) for figure in looks if figure.status is FigureStatus.ALARM)
    if not counted:
        return "no new calls: is production still traced?"
    if verdict is WatchVerdict.TOO_LITTLE:
        waiting = [f for f in looks if f.status is FigureStatus.TOO_FEW and f.needed_n is not None]
        if not waiting:
            return "no figure can be compared with the gate's"
        last = max(waiting, key=lambda f: (f.needed_n or 0) - f.so_far_n)
        return (
            f"no alarm so far; {last.name} has {last.so_far_n} of the about {last.needed_n} units "
            f"in which a worsening by {_points(drop)} would show"
        )
    return f"no figure is worse than the gate's; one worse by {_points(drop)} would likely show"


def _alarm(figure: FigureLook) -> str:
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
    """Return a share for people."""
    return "–" if share is None else f"{100 * share:.3g} %"


def _round(value: float) -> float:
    return float(f"{value:.6g}")


TIMEOUT_S = 10.0
"""Seconds that a webhook may take."""


def send_alarms(target: str, record: WatchRecord, names: Sequence[str]) -> str | None:
    """Append new alarms to a file as a JSON line, or post them to an http(s) webhook.

    `text` is what Slack, Mattermost and Teams' connectors show. Returns why it failed, if it did.
    """
    if not names:
        return None
    figures = [figure for figure in record.figures if figure.name in names]
    sentence = "; ".join(map(_alarm, figures))
    told = {
        "text": f"tunegate watch: {record.suite} of run {record.run_id}: {sentence}",
        "verdict": record.verdict.value,
        "run_id": record.run_id,
        "suite": record.suite,
        "figures": [figure.model_dump(mode="json") for figure in figures],
    }
    content = json.dumps(told, ensure_ascii=False)
    try:
        if not target.startswith(("http://", "https://")):
            with Path(target).open("a", encoding="utf-8") as file:
                file.write(f"{content}\n")
            return None
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(target, content.encode(), head)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return None
    except (OSError, ValueError, http.client.HTTPException) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]


COLUMNS = ("figure", "gate", "allowed", "new units", "so far", "evidence", "status")
WORDS = {
    FigureStatus.ALARM: "ALARM",
    FigureStatus.QUIET: "quiet",
    FigureStatus.TOO_FEW: "too few",
    FigureStatus.BLIND: "cannot tell",
}
HEADS = {
    WatchVerdict.ALARM: "ALARM",
    WatchVerdict.QUIET: "Quiet",
    WatchVerdict.TOO_LITTLE: "Too little to tell",
}


def watch_summary(record: WatchRecord, advice: list[str]) -> str:
    """Return the Markdown of a look, with the commands that come next."""
    return "\n".join([*_lines(record, advice), ""])


def figure_cells(figure: FigureLook) -> tuple[str, ...]:
    """Return a figure's row under `COLUMNS`."""
    status = WORDS[figure.status]
    if figure.status is FigureStatus.TOO_FEW:
        status += f" ({figure.so_far_n} of {figure.needed_n})"
    return (
        figure.name,
        f"{format_percent(figure.gate)} of {figure.gate_n}" if figure.gate_n else "–",
        format_percent(figure.allowed),
        f"{format_percent(figure.window)} of {figure.window_n}",
        f"{format_percent(figure.so_far)} of {figure.so_far_n}",
        f"{figure.evidence:.3g} of {figure.needed:.0f}",
        status,
    )


def watch_notes(record: WatchRecord) -> Iterator[str]:
    """Yield what was left out, and why, a line each."""
    for why, count in record.left_out.items():
        yield f"{count} calls left out: {why}"
    for figure in record.figures:
        if figure.unscored:
            yield f"{figure.name}: {figure.unscored} calls without a value ({figure.why_unscored})"
    for name, why in record.not_compared.items():
        yield f"{name}: not compared: {why}"
    yield from (f"not seen: {line}" for line in record.not_seen)
    yield from record.reading


def _lines(record: WatchRecord, advice: list[str]) -> Iterator[str]:
    yield f"### Watch: {HEADS[record.verdict]}"
    yield ""
    yield f"{_escape_cell(record.sentence[:1].upper() + record.sentence[1:])}."
    yield ""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|---" * len(COLUMNS) + "|"
    for figure in record.figures:
        yield "| " + " | ".join(map(_escape_cell, figure_cells(figure))) + " |"
    yield ""
    beside = f"{_escape_cell(record.suite)} of run {_escape_cell(record.run_id)}"
    yield (
        f"{record.counted} calls from {record.first or '–'} to {record.last or '–'}, compared with "
        f"{beside}. A false alarm of any figure, as long as the stream runs: at most "
        f"{format_percent(record.alpha)}."
    )
    yield ""
    yield from (f"- {_escape_cell(line)}" for line in watch_notes(record))
    if advice:
        yield ""
        yield "Next:"
        yield ""
        yield from (f"    {line}" for line in advice)


def _escape_cell(text: str) -> str:
    """Return a text that stays in its cell and makes no markup of its own."""
    plain = " ".join(text.split())
    for sign in "\\`*_{}[]<>|#":
        plain = plain.replace(sign, "\\" + sign)
    return plain
