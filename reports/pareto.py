"""The Pareto chart of candidates: gain against forgetting.

Up is more gain on the first goal; right is more of its tolerance used by the worst guardrail. The
shaded corner is where a candidate belongs: above the required gain, within the tolerance. A
candidate that no other beats on both is a filled disc, the others are hollow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tunegate.harness.contracts.quantity import QuantityFormat
from tunegate.harness.records.candidates import Candidate, CandidateComparison, CandidateEffect
from tunegate.reports.axis import AxisScale, join_points, tick_text
from tunegate.reports.formatting import format_difference, format_level

WIDTH, HEIGHT = 420, 320

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 44

_AROUND = ((11, -9), (-11, -9), (11, 13), (-11, 13))
"""Where a letter can be next to its point: clear of the bars."""


@dataclass(frozen=True, slots=True)
class AxisTick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class CandidateCross:
    """One candidate: the estimates' place, and both intervals."""

    letter: str
    x: float
    y: float
    left: float
    right: float
    top: float
    bottom: float
    beaten: bool
    chosen: bool
    label: tuple[float, float]
    """Position of the letter: as far as possible from the other candidates."""


@dataclass(frozen=True, slots=True)
class ParetoDrawing:
    """Positions of everything in the drawing."""

    crosses: tuple[CandidateCross, ...]
    front: str
    """Points of the line through the candidates that none beats, as SVG writes them."""
    x_ticks: tuple[AxisTick, ...]
    y_ticks: tuple[AxisTick, ...]
    zone: tuple[float, float, float, float]
    """Left, top, width and height of the corner where candidates belong."""
    frame: tuple[float, float, float, float]
    """Left, top, right and bottom of the axes."""
    zero: tuple[float, float]
    """Where nothing is forgotten (x) and nothing gained (y)."""
    gain: str
    """Name of the metric on the vertical axis."""
    label: str
    """The drawing in words."""


def draw_pareto(comparison: CandidateComparison) -> ParetoDrawing | None:
    """Return the drawing; None unless two candidates have both a gain and a guardrail."""
    drawn = [c for c in comparison.candidates if c.gain and c.forgetting]
    if len(drawn) < 2:
        return None
    gains = [c.gain for c in drawn if c.gain]
    losses = [c.forgetting for c in drawn if c.forgetting]
    hoped = gains[0].bound or 0.0
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM
    x = AxisScale.over([0.0, 1.0, *_ends(losses)], left, right)
    y = AxisScale.over([0.0, hoped, *_ends(gains)], bottom, top)
    points = [
        (x.at(e.estimate or 0.0), y.at(g.estimate or 0.0))
        for e, g in zip(losses, gains, strict=True)
    ]
    labels = _labels(points)
    crosses = tuple(
        _cross(c, (x, y), label, chosen=c.letter == comparison.chosen)
        for c, label in zip(drawn, labels, strict=True)
    )
    front = sorted((c.x, c.y) for c in crosses if not c.beaten)
    return ParetoDrawing(
        crosses=crosses,
        front=join_points(front),
        x_ticks=tuple(AxisTick(x.at(v), tick_text(100 * v)) for v in x.ticks()),
        y_ticks=tuple(AxisTick(y.at(v), tick_text(v)) for v in y.ticks()),
        zone=(left, top, round(x.at(1.0) - left, 1), round(y.at(hoped) - top, 1)),
        frame=(left, top, right, bottom),
        zero=(x.at(0.0), y.at(0.0)),
        gain=gains[0].metric,
        label=_words(drawn, gains[0].metric),
    )


def _ends(effects: list[CandidateEffect]) -> list[float]:
    numbers = (n for e in effects for n in (e.estimate, e.low, e.high))
    return [n for n in numbers if n is not None]


def _labels(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a place for each letter next to its point, far from other points and letters."""
    taken: list[tuple[float, float]] = []
    for at, (px, py) in enumerate(points):
        others = [*points[:at], *points[at + 1 :], *taken]
        places = [(px + dx, py + dy) for dx, dy in _AROUND]
        taken.append(max(places, key=lambda place: min(map(partial(math.dist, place), others))))
    return taken


def _cross(
    candidate: Candidate,
    scales: tuple[AxisScale, AxisScale],
    label: tuple[float, float],
    *,
    chosen: bool,
) -> CandidateCross:
    (x, y), loss, gain = scales, candidate.forgetting, candidate.gain
    assert loss is not None
    assert gain is not None

    def end(value: float | None, scale: AxisScale, border: float) -> float:
        return scale.at(border if value is None else value)

    return CandidateCross(
        letter=candidate.letter,
        x=x.at(loss.estimate or 0.0),
        y=y.at(gain.estimate or 0.0),
        left=end(loss.low, x, x.low),
        right=end(loss.high, x, x.high),
        top=end(gain.high, y, y.high),
        bottom=end(gain.low, y, y.low),
        beaten=bool(candidate.beaten_by),
        chosen=chosen,
        label=(round(label[0], 1), round(label[1], 1)),
    )


def _words(candidates: list[Candidate], metric: str) -> str:
    parts = [
        f"{c.letter}: {metric} "
        f"{format_difference(c.gain.estimate, QuantityFormat(c.gain.rate))}, tolerance used "
        f"{format_share(c.forgetting)}"
        f"{', beaten on both by ' + ' and '.join(c.beaten_by) if c.beaten_by else ''}"
        for c in candidates
        if c.gain and c.forgetting
    ]
    return f"Gain against forgetting. {'; '.join(parts)}."


def format_share(effect: CandidateEffect | None) -> str:
    """Return a share of a tolerance in percent; a guardrail that improved is below zero."""
    if effect is None or effect.estimate is None:
        return format_level(None)
    return f"{tick_text(round(100 * effect.estimate))} %"
