"""trend.html: the figures of `tunegate watch` over its looks, as one page without a script.

Each chart shows the share in each look; a dashed line is the share that the gate's sample allows, a
thin one the gate's own share. A triangle marks an alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunegate.harness.production.watch.look_record import (
    FigureLook,
    FigureStatus,
    WatchRecord,
    WatchVerdict,
)
from tunegate.harness.production.watch.state import TrendPoint, WatchState
from tunegate.reports.axis import AxisScale, join_points
from tunegate.reports.page import render_scriptless_page

WIDTH, HEIGHT = 340, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 10, 18
_TONES = {
    WatchVerdict.ALARM: "bad",
    WatchVerdict.QUIET: "good",
    WatchVerdict.TOO_LITTLE: "warn",
}
_HEADROOM = 1.15
"""Height of a drawing above its largest value."""


@dataclass(frozen=True, slots=True)
class LookDot:
    """One look's share of a figure."""

    x: float
    y: float
    alarm: bool
    title: str


@dataclass(frozen=True, slots=True)
class FigureTrend:
    """Positions of everything in one figure's drawing."""

    figure: FigureLook
    dots: tuple[LookDot, ...]
    line: str
    """Points of the line through the looks."""
    allowed: float
    gate: float | None
    ticks: tuple[tuple[float, str], ...]


def render_trend(record: WatchRecord, state: WatchState) -> str:
    """Return the page of a look and of those before it."""
    figures = sorted(record.figures, key=lambda figure: figure.status is not FigureStatus.ALARM)
    return render_scriptless_page(
        "watch.html",
        tone=_TONES[record.verdict],
        style="history.css",
        record=record,
        trends=[draw_trend(figure, state.trend) for figure in figures],
        width=WIDTH,
        height=HEIGHT,
        left=_LEFT,
        right=WIDTH - _RIGHT,
    )


def draw_trend(figure: FigureLook, points: Sequence[TrendPoint]) -> FigureTrend:
    """Return the drawing of a figure over the looks in which it is known."""
    name = figure.name
    known_points = [point for point in points if name in point.shares]
    shares = [point.shares[name][0] for point in known_points]
    top = _HEADROOM * max([figure.allowed, figure.gate, *shares])
    top = min(1.0, top) or 1.0
    x = AxisScale(0.0, max(1, len(known_points) - 1), _LEFT, WIDTH - _RIGHT)
    y = AxisScale(0.0, top, HEIGHT - _BOTTOM, _TOP)
    dots = tuple(
        LookDot(
            x.at(number),
            y.at(share),
            name in point.alarms,
            f"{point.at}: {100 * share:.3g} % of {point.shares[name][1]} units",
        )
        for number, (point, share) in enumerate(zip(known_points, shares, strict=True))
    )
    return FigureTrend(
        figure=figure,
        dots=dots,
        line=join_points((dot.x, dot.y) for dot in dots),
        allowed=y.at(figure.allowed),
        gate=y.at(figure.gate) if figure.gate_n else None,
        ticks=((y.at(0), "0 %"), (y.at(top), f"{100 * top:.2g} %")),
    )
