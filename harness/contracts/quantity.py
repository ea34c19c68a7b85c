"""Formats of quantities: levels, differences and intervals.

A metric whose scores are between 0 and 1 is a rate: its level of 0.712 is written 71.2 %, a
difference of −0.07 as 7 points. Other metrics keep their own unit. `script/dom.js` of the page does
the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunegate.harness.records.gate_results import GateResult
    from tunegate.harness.records.parity import MetricParity
    from tunegate.harness.records.slices import LostSlice

NONE = "–"
"""Shown instead of a missing number."""
PLACES = 4
"""Most decimal places of a rate."""
ROUNDING = 1e-9
"""Differences below this are rounding errors."""


@dataclass(frozen=True, slots=True)
class QuantityFormat:
    """How the numbers of one metric are written."""

    rate: bool = False
    """Whether its scores are between 0 and 1: levels are in percent, differences in points."""
    places: int = 1
    """Decimal places of a rate."""

    def level(self, value: float | None) -> str:
        """Return a level: `71.2 %`, or four significant digits if it is not a rate."""
        if value is None or not self.rate:
            return format_number(value)
        return f"{_percent(value, self.places)} %"

    def levels(self, base: float | None, tuned: float | None) -> str:
        """Return two levels with the unit once: `71.2 → 64.2 %`."""
        unit = " %" if self.rate and tuned is not None else ""
        return f"{self.bare(base)} → {self.bare(tuned)}{unit}"

    def difference(self, value: float | None) -> str:
        """Return a difference with its sign: `−7.0 points`."""
        return f"{self.bare(value, sign=True)}{self._unit(value)}"

    def size(self, value: float | None) -> str:
        """Return the size of a difference: `7.0 points`."""
        return f"{self.bare(value)}{self._unit(value)}"

    def bare(self, value: float | None, *, sign: bool = False) -> str:
        """Return a number without its unit."""
        if value is None or not self.rate:
            return format_number(value, sign=sign)
        return _percent(value, self.places, sign=sign)

    def margin(self, margin: float | str, *, points: bool = True) -> str:
        """Return a margin exactly as in the suite: `2 points`, `90 %`, or `2%` of base.

        Args:
            margin: The number, or a share of base's level.
            points: Whether it bounds a difference, not a level.
        """
        if isinstance(margin, str):
            return margin
        if not self.rate:
            return _minus(f"{margin:.6g}")
        text = _minus(f"{100 * margin:.6g}")
        if not points:
            return f"{text} %"
        return f"{text} point" if text == "1" else f"{text} points"

    def interval(
        self, low: float | None, high: float | None, confidence: float, *, sign: bool
    ) -> str:
        """Return ` (90 % CI −8.2 to −6.0)`; "" if the data bound neither end."""
        if low is None and high is None:
            return ""
        ends = f"{self.bare(low, sign=sign)} to {self.bare(high, sign=sign)}"
        return f" ({100 * confidence:.4g} % CI {ends})"

    def moved(self, base: float | None, tuned: float | None, delta: float | None) -> str:
        """Return `fell 71.2 → 64.2 %`, or `stayed at 71.2 %`."""
        if delta is None or abs(delta) < ROUNDING:
            return f"stayed at {self.level(tuned)}"
        return f"{'rose' if delta > 0 else 'fell'} {self.levels(base, tuned)}"

    def change(self, base: float | None, tuned: float | None, delta: float | None) -> str:
        """Return `fell 7.0 points, 71.2 → 64.2 %`, or `stayed at 71.2 %`."""
        if delta is None or abs(delta) < ROUNDING:
            return f"stayed at {self.level(tuned)}"
        verb = "rose" if delta > 0 else "fell"
        by = self.size(abs(delta)) if self.rate else f"by {self.size(abs(delta))}"
        return f"{verb} {by}, {self.levels(base, tuned)}"

    def _unit(self, value: float | None) -> str:
        return " points" if self.rate and value is not None else ""


def quantity_of(result: GateResult) -> QuantityFormat:
    """Return how a gate's levels and differences are written."""
    margin = None if isinstance(result.margin, str) else result.margin
    bounds = [] if margin is None else [margin, -margin]
    numbers = (result.base, result.tuned, result.delta, result.low, result.high)
    return format_over(numbers, rate=result.rate, marks=bounds)


def parity_format(found: MetricParity) -> QuantityFormat:
    """Return how the comparison of tuned with a deployment artifact is written."""
    margin = [] if isinstance(found.margin, str) else [found.margin, -found.margin]
    values = (found.tuned, found.shipped, found.delta, found.low, found.high)
    return format_over(values, rate=found.rate, marks=margin)


def slice_format(one: LostSlice) -> QuantityFormat:
    """Return how the loss on one slice is written."""
    return format_over((one.base, one.tuned, one.delta, one.low, one.high), rate=one.rate)


def format_over(
    values: Iterable[float | None], *, rate: bool, marks: Iterable[float] = ()
) -> QuantityFormat:
    """Return the format with enough decimals to tell the numbers apart.

    Args:
        values: Numbers that are shown together, the levels of both arms first.
        rate: Whether they are rates.
        marks: Values, besides 0 and 1, that must stay distinguishable after rounding, such as a
            margin.
    """
    numbers = [round(v, 9) for v in values if v is not None and math.isfinite(v)]
    apart = [(v, mark) for v in numbers for mark in (*marks, 0.0, 1.0, -1.0) if v != round(mark, 9)]
    apart += [(numbers[0], numbers[1])] if len(numbers) > 1 and numbers[0] != numbers[1] else []

    def tells(places: int) -> bool:
        return all(round(100 * a, places) != round(100 * b, places) for a, b in apart)

    return QuantityFormat(rate, next(filter(tells, range(1, PLACES)), PLACES) if rate else 1)


def format_score(value: float | None, *, rate: bool) -> str:
    """Return the score of a case: `100 %`, `31.4 %`, or four significant digits if not a rate."""
    if value is None or not rate:
        return format_number(value)
    text = f"{100 * value:.1f}".removesuffix(".0")
    return _minus(f"{100 * value:.1g} %" if text in ("0", "-0") and value else f"{text} %")


def format_scores(base: float | None, tuned: float | None, *, rate: bool) -> str:
    """Return a case's scores on both arms: `100 → 0 %`."""
    first, second = format_score(base, rate=rate), format_score(tuned, rate=rate)
    return f"{first if tuned is None else first.removesuffix(' %')} → {second}"


def format_number(value: float | None, *, sign: bool = False) -> str:
    """Return a number with four significant digits; `–` for None."""
    if value is None:
        return NONE
    return _minus(f"{value:+.4g}" if sign else f"{value:.4g}")


def _percent(value: float, places: int, *, sign: bool = False) -> str:
    """Return a hundred times the value, with 0 and 100 without decimals if exact."""
    scaled = 100 * (0.0 if abs(value) < ROUNDING else value)
    if scaled in (0.0, 100.0, -100.0):
        text = f"{scaled:.0f}"
    elif round(scaled, places) == 0:
        text = f"{scaled:.1g}"  # never 0 for a number that is not 0
    else:
        text = f"{scaled:.{places}f}"
    return _minus(f"+{text}" if sign and scaled > 0 else text)


def _minus(text: str) -> str:
    """Return a number with the sign that is as wide as a plus."""
    return f"−{text[1:]}" if text.startswith("-") else text
