"""Curves of gates over the strength of an adapter: from base at 0, with an interval at each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.candidates import CandidateComparison
from tunegate.harness.records.gate_results import GateResult
from tunegate.reports.axis import AxisScale, gate_marks, gate_values, join_points, tick_text
from tunegate.reports.formatting import format_gate_value

WIDTH, HEIGHT = 300, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 10, 10, 10, 26


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A gate's value at one strength."""

    x: float
    y: float
    low: float
    high: float
    """Ends of the interval; the drawing's border where an end is open."""
    text: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class StrengthCurve:
    """One gate at every strength."""

    suite: str
    gate: GateResult
    """The first strength's, for what all share."""
    points: tuple[CurvePoint, ...]
    line: str
    """Points of the line from base through all estimates, as SVG writes them."""
    base: float | None
    """Height of base."""
    zone: tuple[float, float] | None
    """Top and height of where the interval must be."""
    ticks: tuple[tuple[float, str], ...]
    frame: tuple[float, float, float, float]
    """Left, top, right and bottom."""
    label: str
    """The curve in words."""


def draw_curves(comparison: CandidateComparison) -> Iterator[StrengthCurve]:
    """Yield a curve for each gate of one adapter's strengths; none for other candidates."""
    strengths = comparison.strengths
    for at, suite in enumerate(comparison.candidates[0].suites if strengths else ()):
        for index in range(len(suite.gates)):
            gates = [candidate.suites[at].gates[index] for candidate in comparison.candidates]
            chosen = [candidate.letter == comparison.chosen for candidate in comparison.candidates]
            if all(gate_kind(gate.kind).value(gate) is not None for gate in gates):
                yield _curve(suite.name, gates, strengths, chosen)


def _curve(
    suite: str, gates: Sequence[GateResult], strengths: Sequence[float], chosen: Sequence[bool]
) -> StrengthCurve:
    first = gates[0]
    x = AxisScale(0.0, max(strengths), _LEFT, WIDTH - _RIGHT)
    y = AxisScale.over((v for gate in gates for v in gate_values(gate)), HEIGHT - _BOTTOM, _TOP)
    marks = [gate_marks(gate, y, (HEIGHT - _BOTTOM, _TOP)) for gate in gates]
    texts = [format_gate_value(gate, gate_kind(gate.kind).value(gate)) for gate in gates]
    points = tuple(
        CurvePoint(x.at(strength), mark.point or 0.0, mark.low, mark.high, text, is_chosen)
        for strength, mark, text, is_chosen in zip(strengths, marks, texts, chosen, strict=True)
    )
    base = marks[0].reference
    start = [] if base is None else [(x.at(0.0), base)]
    words = ", ".join(
        f"{tick_text(strength)}: {text}" for strength, text in zip(strengths, texts, strict=True)
    )
    return StrengthCurve(
        suite=suite,
        gate=first,
        points=points,
        line=join_points([*start, *((p.x, p.y) for p in points)]),
        base=base,
        zone=marks[0].zone,
        ticks=tuple((x.at(s), tick_text(s)) for s in (0.0, *strengths)),
        frame=(_LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM),
        label=f"{suite}, {first.subject} by strength of the adapter: {words}",
    )
