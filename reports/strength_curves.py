"""Curves of gates over the strength of an adapter: from base at 0, with an interval at each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.candidates import CandidateComparison
from tunegate.harness.records.gate_results import GateResult
from tunegate.reports.axis import AxisScale, tick_text
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
            gates = [one.suites[at].gates[index] for one in comparison.candidates]
            chosen = [one.letter == comparison.chosen for one in comparison.candidates]
            if all(gate_kind(gate.kind).value(gate) is not None for gate in gates):
                yield _curve(suite.name, gates, strengths, chosen)


def _curve(
    suite: str, gates: Sequence[GateResult], strengths: Sequence[float], chosen: Sequence[bool]
) -> StrengthCurve:
    first, kind = gates[0], gate_kind(gates[0].kind)
    base, bound = kind.reference(first), kind.boundary(first)
    ends = (v for gate in gates for v in (kind.value(gate), gate.low, gate.high))
    heights = [v for v in (*ends, base, bound) if v is not None]
    x = AxisScale(0.0, max(strengths), _LEFT, WIDTH - _RIGHT)
    y = AxisScale.over(heights, HEIGHT - _BOTTOM, _TOP)
    points = tuple(
        CurvePoint(
            x.at(strength),
            y.at(kind.value(gate) or 0.0),
            y.at(y.low if gate.low is None else gate.low),
            y.at(y.high if gate.high is None else gate.high),
            format_gate_value(gate, kind.value(gate)),
            is_chosen,
        )
        for strength, gate, is_chosen in zip(strengths, gates, chosen, strict=True)
    )
    start = [] if base is None else [(x.at(0.0), y.at(base))]
    words = ", ".join(
        f"{tick_text(strength)}: {point.text}"
        for strength, point in zip(strengths, points, strict=True)
    )
    return StrengthCurve(
        suite=suite,
        gate=first,
        points=points,
        line=" ".join(f"{px},{py}" for px, py in [*start, *((p.x, p.y) for p in points)]),
        base=None if base is None else y.at(base),
        zone=None if bound is None else _zone(y.at(bound), above=kind.passes_above(first)),
        ticks=tuple((x.at(s), tick_text(s)) for s in (0.0, *strengths)),
        frame=(_LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM),
        label=f"{suite}, {first.subject} by strength of the adapter: {words}",
    )


def _zone(bound: float, *, above: bool) -> tuple[float, float]:
    bottom = HEIGHT - _BOTTOM
    return (_TOP, round(bound - _TOP, 1)) if above else (bound, round(bottom - bound, 1))
