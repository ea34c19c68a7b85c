"""How far the number of a regression is from the expected one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._json_parsing import shorten_text
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    return [
        f"metric 'absolute_error': case {case.id!r} has expected={shorten_text(text, 80)!r}, which "
        'is not a number; write one, such as "3.5"'
        for case in cases
        for text in case.expected_texts()
        if _number(text) is None
    ]


@metric(
    label="absolute error",
    higher_is_better=False,
    requires=("expected",),
    check=_check,
)
def absolute_error(case: Case, completion: Completion, *, squared: bool = False) -> Score:
    """Score the distance between the answer, a number, and the expected number.

    For classifiers of one output (regression). The means are scikit-learn's
    `mean_absolute_error` and, with `squared`, `mean_squared_error`.

    Known problems:
        It has no upper limit, so that one far outlier makes the interval wide. Use `numeric` for
        the numbers that a model writes into text.

    Example:
        Expected `3.5`, answer `3.1`: 0.4; with `squared = true` 0.16.

    Options:
        squared: Take the square of the distance.
    """
    answer = _number(completion.text or "")
    wanted = [_number(text) for text in case.expected_texts()]
    if answer is None or not wanted or None in wanted:
        return Score.unscored("the answer is not a number")
    distance = min(abs(answer - number) for number in wanted if number is not None)
    return Score.of(distance**2 if squared else distance)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
