"""How numbers are written for people: few digits, a true minus sign, a dash for none."""

from __future__ import annotations

import math

from harness.manifest import GateKind
from harness.verdict.record import GateResult

NONE = "–"
"""What stands where there is no number."""


def number(value: float | None) -> str:
    """Return a level such as a mean score: three decimals, four digits from ten on."""
    if value is None:
        return NONE
    if value == 0 or 1e-3 <= abs(value) < 10:
        text = f"{value:.3f}"
    elif 10 <= abs(value) < 1e6:
        text = f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    else:
        text = f"{value:.2g}"
    return text.replace("-", "−")


def signed(value: float | None) -> str:
    """Return a difference: as `number`, with its sign."""
    text = number(value)
    return text if value is None or value <= 0 or text == "0.000" else f"+{text}"


def percent(value: float | None) -> str:
    """Return a probability or share in per cent."""
    return NONE if value is None else f"{100 * value:.1f} %"


def seconds(value: float | None) -> str:
    """Return a duration in milliseconds or seconds."""
    if value is None:
        return NONE
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.2f} s"


def dollars(value: float | None) -> str:
    """Return a price; an unknown one is unknown, not zero."""
    return "unknown" if value is None else f"${value:.4f}"


def counted(n: int, one: str, many: str | None = None) -> str:
    """Return `n` with its noun, in the singular for one."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def absolute_margin(gate: GateResult) -> float | None:
    """Return the gate's margin in the metric's unit; a relative one is taken of base."""
    if not isinstance(gate.margin, str):
        return gate.margin
    try:
        share = float(gate.margin.strip().removesuffix("%")) / 100
    except ValueError:
        return None
    if gate.base is None or not math.isfinite(share):
        return None
    return share * abs(gate.base)


def rule(gate: GateResult) -> str:
    """Return what the gate asks for, in words."""
    margin = _margin(gate.margin)
    return {
        GateKind.FLOOR: f"tuned at least {margin}",
        GateKind.CEILING: f"tuned at most {margin}",
        GateKind.GAIN: f"better by more than {margin}",
        GateKind.TOLERANCE: f"worse by less than {margin}",
        GateKind.SEVERE_DROP: f"at most {margin} of the cases lose {number(gate.drop)} or more",
    }[gate.kind]


def _margin(margin: float | str) -> str:
    return f"{margin} of base" if isinstance(margin, str) else f"{margin:.6g}".replace("-", "−")
