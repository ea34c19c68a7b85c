"""Whether the answer's final number is the expected one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._final_number import Decimal, Percent, find_final_number
from tunegate.harness.metrics._json_parsing import shorten_text
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    limits = {name: options.get(name, 0.0) for name in ("tolerance", "relative_tolerance")}
    problems = [
        f"metric 'numeric': {name}={value}: must be 0 or more, and finite"
        for name, value in limits.items()
        if not 0 <= value < math.inf
    ]
    reading = {key: value for key, value in options.items() if key not in limits}
    return problems + [
        f"metric 'numeric': case {case.id!r} has expected={shorten_text(text, 80)!r}, which "
        'has no number; write one, such as "12.5"'
        for case in cases
        for text in case.expected_texts()
        if find_final_number(text, **reading) is None
    ]


@metric(label="right numbers", binary=True, requires=("expected",), check=_check)
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

    The number after the last `\boxed{` or `####`, else after the last "answer is", "Answer:" or
    JSON field `"answer":`, else the last number. Reads thousands (`1,234`), signs, currency,
    `1.5 × 10^3`, `1.5 million`, `3/4`, `\frac{3}{4}`, `1½`. Values are exact fractions; either
    tolerance is enough. An answer without a number is wrong.

    Measured: agrees with the official scores on 99.4 % of 57,398 GSM8K answers of 44 models
    (WildEval/ZeroEval). Nearly all the others are misread by the official rule, such as
    `"answer": "4 * 3 = 12"`.

    Known problems:
        Without a marker the last number counts ("5 euros for 3 days" is 3). Units are not compared,
        nothing is calculated, and words (`forty`) are not numbers.

    Example:
        Expected `1200`: `She earns 3 * 400 = $1,200.` and `#### 1200` score 1.

    Options:
        tolerance: Largest difference that counts as right.
        relative_tolerance: The same as a share of the expected number: 0.01 is 1 %.
        percent: `unit` reads `50%` as 50, `hundredth` as 0.5.
        decimal: `point` reads `1,234.5`, `comma` reads `1.234,5`, on both sides.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    wanted = [
        find_final_number(text, percent=percent, decimal=decimal) for text in case.expected_texts()
    ]
    numbers = [number for number in wanted if number is not None]
    if not numbers:
        return Score.unscored("the case has no expected number")
    number_read = find_final_number(completion.text, percent=percent, decimal=decimal)
    if number_read is None:
        return Score.of(0.0, "no number in the answer")
    absolute, relative = Fraction(repr(tolerance)), Fraction(repr(relative_tolerance))
    right = any(
        abs(number_read.value - number.value) <= max(absolute, relative * abs(number.value))
        for number in numbers
    )
    return Score.of(float(right), f"read {shorten_text(number_read.text.strip(), 80)}")
