"""Whether the answer's final number is the expected one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from harness.metric import metric
from harness.metrics import _numbers
from harness.metrics._json import shorten
from harness.metrics._numbers import Decimal, Percent
from harness.records import Case, Completion, Score


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return senseless tolerances, and the cases whose expected answer holds no number."""
    limits = {name: options.get(name, 0.0) for name in ("tolerance", "relative_tolerance")}
    problems = [
        f"metric 'numeric': {name}={value}: must be 0 or more, and finite"
        for name, value in limits.items()
        if not 0 <= value < math.inf
    ]
    reading = {key: value for key, value in options.items() if key not in limits}
    return problems + [
        f"metric 'numeric': case {case.id!r} has expected={shorten(text, 80)!r}, in which there is "
        'no number; write one, such as "12.5"'
        for case in cases
        for text in case.expected_texts()
        if _numbers.final(text, **reading) is None
    ]


@metric(binary=True, requires=("expected",), check=_check)
def numeric(
    case: Case,
    completion: Completion,
    *,
    tolerance: float = 0.0,
    relative_tolerance: float = 0.0,
    percent: Percent = "unit",
    decimal: Decimal = "point",
) -> Score:
    r"""Score 1 if the final number of the answer is the expected one, else 0.

    What it does:
        Takes the number behind the last `\boxed{` or GSM8K's `####`; without them the first one
        behind the last "answer is" or "Answer:" (of an equation, its right side); without those
        the last number of the text. Read are thousands (`1,234`, `12,34,567`, `1'234`, no-break
        and thin spaces, `1{,}234`), decimals, signs (also `−` and a dash), currency and units
        around the number, `1.5e3`, `1.5 × 10^3`, `10³`, `1.5 million`, `3/4`, `\frac{3}{4}`,
        `1 1/2`, `1½`. Values are exact fractions, and one that is within either tolerance of one
        of the expected numbers is right. An expected text is read in the same way, so GSM8K's
        whole solutions will do. An answer without a number is wrong: 0, with the reason.

    Why:
        `exact_match` calls `$1,200.00` wrong where `1200` is expected.

    Known problems:
        Without a marker the last number counts, whatever it measures ("5 euros for 3 days" is 3),
        and the markers are English. Units are not compared: 5 km is 5 cm. Nothing is calculated
        (`2\sqrt{3}`, `2π`, `7 - 4`), words are no numbers (`forty`), an ordinary space groups no
        digits, and a time (`10:30`) is two numbers. A number of more than 1,000 digits is none.

    Example:
        Expected `1200`: `She earns 3 * 400 = $1,200.` scores 1, and so does `#### 1200`.

    Options:
        tolerance: Largest difference that is still right; decimal: 1.1 - 1.0 is 0.1.
        relative_tolerance: The same as a share of the expected number: 0.01 is 1 %.
        percent: `unit` reads `50%` as 50, `hundredth` as 0.5.
        decimal: `point` reads `1,234.5`, `comma` reads `1.234,5`, on both sides.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    wanted = [
        _numbers.final(text, percent=percent, decimal=decimal) for text in case.expected_texts()
    ]
    numbers = [number for number in wanted if number is not None]
    if not numbers:
        return Score.unscored("the case has no expected number")
    given = _numbers.final(completion.text, percent=percent, decimal=decimal)
    if given is None:
        return Score.of(0.0, "no number in the answer")
    absolute, relative = Fraction(repr(tolerance)), Fraction(repr(relative_tolerance))
    right = any(
        abs(given.value - number.value) <= max(absolute, relative * abs(number.value))
        for number in numbers
    )
    return Score.of(float(right), f"read {shorten(given.text.strip(), 80)}")
