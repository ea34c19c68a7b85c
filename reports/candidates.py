"""Comparison of candidates as an HTML page with a Pareto chart, and as Markdown.

Like the report of a run it is made from records alone, runs no script and asks for nothing.

In the Pareto chart upwards is more gain on the first goal; to the right more of its tolerance is
used up by the worst guardrail. The shaded corner is where a candidate belongs: above the required
gain, left of a whole tolerance. A candidate that no other beats on both is a full disc, the others
are hollow; each has its letter, and the table next to the drawing holds every number.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from tunegate.harness.contracts.quantity import QuantityFormat
from tunegate.harness.records.candidates import (
    Candidate,
    CandidateComparison,
    CandidateEffect,
    PairwiseComparison,
)
from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.gate_results import GateResult
from tunegate.reports import charts
from tunegate.reports.charts import AxisScale, tick_text
from tunegate.reports.escaping import code_span, escape_markdown
from tunegate.reports.formatting import (
    FACES,
    REASONS,
    STATUSES,
    format_difference,
    format_interval,
    format_level,
    metric_direction,
)
from tunegate.reports.identity import short_of
from tunegate.reports.page import scriptless

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
    known = [c for c in comparison.candidates if c.gain and c.forgetting]
    if len(known) < 2:
        return None
    gains = [c.gain for c in known if c.gain]
    losses = [c.forgetting for c in known if c.forgetting]
    asked = gains[0].bound or 0.0
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM
    x = AxisScale.over([0.0, 1.0, *_ends(losses)], left, right)
    y = AxisScale.over([0.0, asked, *_ends(gains)], bottom, top)
    points = [
        (x.at(e.estimate or 0.0), y.at(g.estimate or 0.0))
        for e, g in zip(losses, gains, strict=True)
    ]
    labels = _labels(points)
    crosses = tuple(
        _cross(c, (x, y), label, chosen=c.letter == comparison.chosen)
        for c, label in zip(known, labels, strict=True)
    )
    front = sorted((c.x, c.y) for c in crosses if not c.beaten)
    return ParetoDrawing(
        crosses=crosses,
        front=" ".join(f"{px},{py}" for px, py in front),
        x_ticks=tuple(AxisTick(x.at(v), tick_text(100 * v)) for v in x.ticks()),
        y_ticks=tuple(AxisTick(y.at(v), tick_text(v)) for v in y.ticks()),
        zone=(left, top, round(x.at(1.0) - left, 1), round(y.at(asked) - top, 1)),
        frame=(left, top, right, bottom),
        zero=(x.at(0.0), y.at(0.0)),
        gain=gains[0].metric,
        label=_words(known, gains[0].metric),
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
    one: Candidate, scales: tuple[AxisScale, AxisScale], label: tuple[float, float], *, chosen: bool
) -> CandidateCross:
    (x, y), loss, gain = scales, one.forgetting, one.gain
    assert loss is not None
    assert gain is not None

    def end(value: float | None, scale: AxisScale, border: float) -> float:
        return scale.at(border if value is None else value)

    return CandidateCross(
        letter=one.letter,
        x=x.at(loss.estimate or 0.0),
        y=y.at(gain.estimate or 0.0),
        left=end(loss.low, x, x.low),
        right=end(loss.high, x, x.high),
        top=end(gain.high, y, y.high),
        bottom=end(gain.low, y, y.low),
        beaten=bool(one.beaten_by),
        chosen=chosen,
        label=(round(label[0], 1), round(label[1], 1)),
    )


def _words(known: list[Candidate], metric: str) -> str:
    parts = [
        f"{c.letter}: {metric} "
        f"{format_difference(c.gain.estimate, QuantityFormat(c.gain.rate))}, tolerance used "
        f"{format_share(c.forgetting)}"
        f"{', beaten on both by ' + ' and '.join(c.beaten_by) if c.beaten_by else ''}"
        for c in known
        if c.gain and c.forgetting
    ]
    return f"Gain against forgetting. {'; '.join(parts)}."


def format_share(effect: CandidateEffect | None) -> str:
    """Return a share of a tolerance in per cent; a guardrail that improved is below zero."""
    if effect is None or effect.estimate is None:
        return format_level(None)
    return f"{tick_text(round(100 * effect.estimate))} %"


@dataclass(frozen=True, slots=True)
class GateTable:
    """One gate with every candidate's outcome."""

    suite: str
    gate: GateResult
    """The first candidate's, for what is the same of all."""
    rows: tuple[tuple[str, GateResult, charts.CandidateMarks], ...]
    """Letter, outcome and drawing of each candidate."""


def render_page(
    comparison: CandidateComparison, pages: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the page of a comparison: the same comparison gives the same bytes.

    Args:
        comparison: What was compared.
        pages: Letter of a candidate → address of its run's own page.
    """
    chosen = comparison.candidate(comparison.chosen)
    return scriptless(
        "compare.html",
        tone=FACES[comparison.verdict].tone,
        style="compare.css",
        c=comparison,
        chosen=chosen,
        face=FACES[comparison.verdict],
        faces=FACES,
        statuses=STATUSES,
        reasons=REASONS,
        direction=metric_direction,
        plot=draw_pareto(comparison),
        plot_size=(WIDTH, HEIGHT),
        row_size=(charts.FOREST_WIDTH, charts.FOREST_HEIGHT),
        share=format_share,
        short=short_of,
        gates=list(gate_tables(comparison)),
        pages=pages,
    )


def write_page(comparison: CandidateComparison, path: Path) -> None:
    """Write the page; a reader sees the old file or the new one, never a part."""
    own = {one.letter: Path(one.folder) / "report.html" for one in comparison.candidates}
    pages = {
        letter: quote(os.path.relpath(page, path.parent))
        for letter, page in own.items()
        if page.is_file()
    }
    write_atomic(path, render_page(comparison, pages))


def gate_tables(comparison: CandidateComparison) -> Iterator[GateTable]:
    """Yield every gate of the suites, with its result for each candidate."""
    first: Candidate = comparison.candidates[0]
    for at, suite in enumerate(first.suites):
        for index, gate in enumerate(suite.gates):
            found = [(one.letter, one.suites[at].gates[index]) for one in comparison.candidates]
            drawn = charts.candidate_marks([result for _, result in found])
            rows: Any = tuple(
                (letter, result, row) for (letter, result), row in zip(found, drawn, strict=True)
            )
            yield GateTable(suite=suite.name, gate=gate, rows=rows)


ROWS = 100
"""Rows of the table of pairs at most; the page has all of them."""


def render_markdown(found: CandidateComparison) -> str:
    """Return the text of a comparison; the same comparison gives the same text."""
    face = FACES[found.verdict]
    return "\n".join(
        [
            f"### {face.sign} tunegate compare: {face.word}",
            "",
            escape_markdown(found.sentence),
            "",
            f"{len(found.candidates)} candidates, each gate at 1/{found.of} of its error.",
            "",
            *_table(
                ("", "tuned", "run", "verdict", "alone", "gain", "interval", "tolerance used"),
                map(_candidate, found.candidates),
            ),
            "",
            *(f"- {escape_markdown(note)}" for note in _notes(found)),
            "",
            "### One against the other",
            "",
            *_table(
                ("", "suite", "metric", "difference", "interval", "p (Holm)", "proven", "n"),
                map(_duel, found.duels[:ROWS]),
            ),
            *_more(len(found.duels) - ROWS),
            "",
        ]
    )


def _notes(found: CandidateComparison) -> Iterator[str]:
    yield from found.notes
    yield from (f"{one.letter}: {note}" for one in found.candidates for note in one.notes)


def _candidate(one: Candidate) -> list[str]:
    gain = one.gain
    how = QuantityFormat(gain is not None and gain.rate)
    return [
        one.letter,
        code_span(one.spec),
        code_span(one.folder),
        _face(one.verdict),
        _face(one.alone),
        format_difference(gain.estimate, how) if gain else format_level(None),
        format_interval(gain.low, gain.high, how) if gain else format_level(None),
        format_share(one.forgetting),
    ]


def _face(verdict: object) -> str:
    face = next(face for key, face in FACES.items() if key is verdict)
    return f"{face.sign} {face.word}"


def _duel(duel: PairwiseComparison) -> list[str]:
    proven = f"{duel.better} is better" if duel.better else "nothing"
    return [
        f"{duel.first} → {duel.second}",
        code_span(duel.suite),
        code_span(duel.metric),
        format_difference(duel.delta, QuantityFormat(duel.rate)),
        format_interval(duel.low, duel.high, QuantityFormat(duel.rate)),
        format_level(duel.p_value),
        proven + (" (advisory)" if duel.advisory else ""),
        str(duel.n),
    ]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    titles = list(head)
    for cells in [titles, ["---"] * len(titles), *map(list, rows)]:
        yield "| " + " | ".join(cells) + " |"


def _more(n: int) -> list[str]:
    return [f"\n{n} more pairs on the page."] if n > 0 else []
