"""history.html: a project's runs over time as one self-contained page, with a trend chart per gate.

In a chart the runs are equally spaced. The shape shows the gate's outcome (disc: pass, cross: fail,
ring: undecided, bar: error), a triangle below means that the fine-tune was shipped. A dashed line
separates versions of the suite, whose numbers are not connected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from tunegate.harness.decision.verdict.run_history import PastRun, RunHistory, SuiteUsage
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.verdict import SuiteResult
from tunegate.harness.records.wording import count_noun
from tunegate.reports.axis import AxisScale, gate_marks, gate_values, join_points, tick_text
from tunegate.reports.formatting import (
    FACES,
    STATUSES,
    format_gate_interval,
    format_gate_value,
    metric_direction,
)
from tunegate.reports.identity import short_of
from tunegate.reports.page import render_scriptless_page

WIDTH, HEIGHT = 340, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 20


@dataclass(frozen=True, slots=True)
class HistoricalOutcome:
    """A gate's outcome in one run."""

    run: PastRun
    version: str
    """Hash of the suite."""
    gate: GateResult


@dataclass(frozen=True, slots=True)
class TrendDot:
    """One run's marks."""

    x: float
    y: float
    low: float
    high: float
    has_interval: bool
    """Whether there is an interval."""
    status: str
    """`pass`, `fail`, `undecided` or `error`: it decides the shape."""
    shipped: bool
    title: str
    """The run's numbers in words."""


@dataclass(frozen=True, slots=True)
class TrendDrawing:
    """Positions of everything in one gate's drawing."""

    gate: GateResult
    """The newest outcome, for its name and rule."""
    dots: tuple[TrendDot, ...]
    lines: tuple[str, ...]
    """Points of the line through the estimates, one per version of the suite."""
    breaks: tuple[float, ...]
    """Where the suite changed."""
    ticks: tuple[tuple[float, str], ...]
    zone: tuple[float, float] | None
    """Top and height of where the newest gate asks the interval to be."""
    bound: float | None
    zero: float | None
    frame: tuple[float, float, float, float]
    """Left, top, right and bottom."""
    label: str
    """The drawing in words."""


def draw_trend(seen: Sequence[HistoricalOutcome]) -> TrendDrawing | None:
    """Return the drawing of a gate's outcomes, oldest first; None if nothing was estimated."""
    estimated = [outcome for outcome in seen if _point(outcome.gate) is not None]
    if not estimated:
        return None
    newest = estimated[-1].gate
    values = [
        v
        for outcome in estimated
        for v in (_point(outcome.gate), outcome.gate.low, outcome.gate.high)
    ]
    heights = [*(v for v in values if v is not None), *gate_values(newest)]
    y = AxisScale.over(heights, HEIGHT - _BOTTOM, _TOP)
    marks = gate_marks(newest, y, (HEIGHT - _BOTTOM, _TOP))
    places = _places(len(estimated))
    dots = tuple(_dot(outcome, x, y) for outcome, x in zip(estimated, places, strict=True))
    versions = [outcome.version for outcome in estimated]
    changed = [i for i in range(1, len(estimated)) if versions[i] != versions[i - 1]]
    return TrendDrawing(
        gate=newest,
        dots=dots,
        lines=tuple(_lines(dots, versions)),
        breaks=tuple(round((places[i - 1] + places[i]) / 2, 1) for i in changed),
        ticks=tuple((y.at(v), tick_text(v)) for v in y.ticks(4)),
        zone=marks.zone,
        bound=marks.bound,
        zero=marks.reference,
        frame=(_LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM),
        label=_words(newest, estimated),
    )


def _point(gate: GateResult) -> float | None:
    return gate_kind(gate.kind).value(gate)


def _places(n: int) -> list[float]:
    """Return n equally spaced positions; a single one is in the middle."""
    left, right = _LEFT + 14, WIDTH - _RIGHT - 14
    if n == 1:
        return [(left + right) / 2]
    return [round(left + i * (right - left) / (n - 1), 1) for i in range(n)]


def _dot(outcome: HistoricalOutcome, x: float, y: AxisScale) -> TrendDot:
    gate = outcome.gate
    marks = gate_marks(gate, y, (HEIGHT - _BOTTOM, _TOP))
    return TrendDot(
        x=x,
        y=marks.point or 0.0,
        low=marks.low,
        high=marks.high,
        has_interval=marks.has_interval,
        status=gate.status.value,
        shipped=outcome.run.shipped is not None,
        title=f"{outcome.run.run_id}: {_value(gate)}, {gate.status.value}",
    )


def _lines(dots: Sequence[TrendDot], versions: Sequence[str]) -> list[str]:
    """Return the points of each stretch of one version."""
    pairs = zip(versions, dots, strict=True)
    stretches = [[dot for _, dot in group] for _, group in groupby(pairs, key=lambda pair: pair[0])]
    return [join_points((d.x, d.y) for d in dots) for dots in stretches if len(dots) > 1]


def _value(gate: GateResult) -> str:
    known = gate.low is not None or gate.high is not None
    interval = f" ({format_gate_interval(gate)})" if known else ""
    return f"{format_gate_value(gate, _point(gate))}{interval}"


def _words(gate: GateResult, outcomes: Sequence[HistoricalOutcome]) -> str:
    passed = sum(outcome.gate.status is GateStatus.PASS for outcome in outcomes)
    return (
        f"{gate.subject} {gate.kind} over {count_noun(len(outcomes), 'run')}, oldest first: "
        f"{passed} passed; the newest is {_value(gate)}. Every number is in the table."
    )


@dataclass(frozen=True, slots=True)
class SuiteTimeline:
    """One suite's runs, newest first, with the drawings of its gates."""

    name: str
    rows: tuple[tuple[PastRun, SuiteResult], ...]
    trends: tuple[TrendDrawing, ...]
    wear: tuple[SuiteUsage, ...]
    gates: tuple[str, ...]
    """Ids of its gates, those of the newest run first: the table's columns."""


def render_history(history: RunHistory) -> str:
    """Return the page of a history: the same runs give the same bytes."""
    newest = history.runs[-1] if history.runs else None
    return render_scriptless_page(
        "history.html",
        tone=FACES[newest.verdict].tone if newest else "calm",
        style="history.css",
        h=history,
        newest=newest,
        runs=tuple(reversed(history.runs)),
        suites=list(suites_over_time(history)),
        faces=FACES,
        statuses=STATUSES,
        tones={status.value: face.tone for status, face in STATUSES.items()},
        direction=metric_direction,
        short=short_of,
        size=(WIDTH, HEIGHT),
    )


def suites_over_time(history: RunHistory) -> Iterator[SuiteTimeline]:
    """Yield every suite, in the order of its first run."""
    for name in history.names:
        rows = tuple(history.of_suite(name))
        ids = dict.fromkeys(gate.id for _, suite in reversed(rows) for gate in suite.gates)
        drawn = (draw_trend(_gate_history(rows, gate)) for gate in ids)
        yield SuiteTimeline(
            name=name,
            rows=tuple(reversed(rows)),
            trends=tuple(drawing for drawing in drawn if drawing is not None),
            wear=tuple(w for w in history.wear if w.name == name),
            gates=tuple(ids),
        )


def _gate_history(
    rows: tuple[tuple[PastRun, SuiteResult], ...], gate_id: str
) -> list[HistoricalOutcome]:
    return [
        HistoricalOutcome(run, suite.hash, gate)
        for run, suite in rows
        for gate in suite.gates
        if gate.id == gate_id
    ]
