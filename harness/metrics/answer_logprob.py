"""How likely the model finds the expected answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tunegate.harness.contracts.metric import Metric, metric
from tunegate.harness.metrics._choice_likelihoods import ROUNDING
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

FLOOR = -50.0
"""Least log-probability per token, in nats: it replaces minus infinity."""


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    least = options.get("least")
    if least is None or (math.isfinite(least) and FLOOR <= least < 0):
        return []
    return [f"least={least}: give a number of nats from {FLOOR:g} to 0, such as -6"]


def _bound(of: Metric) -> Metric:
    """Return the metric with the range that the option `least` gives it."""
    least = of.options.get("least")
    return of if least is None or of.range is not None else replace(of, range=(least, 0.0))


@metric(
    label="likelihood of the reference answer",
    needs=CellKind.ANSWER,
    requires=("expected",),
    check=_check,
    adapt=_bound,
)
def answer_logprob(case: Case, completion: Completion, *, least: float | None = None) -> Score:
    """Score the mean natural-log probability per token of the expected answer.

    The model writes nothing. 0 is certainty, -0.69 one chance in two per token. It moves with every
    change of the weights, so it needs the fewest cases to see that knowledge fades.

    Known problems:
        Without `least` there is no range, and gates are advisory below 200 cases. A change of style
        lowers it as well. It cannot compare arms with different tokenizers.

    Example:
        `tolerance = 0.02` lets the mean fall by 0.02 nats, 2 % of the probability per token.

    Options:
        least: Lower end of the scores in nats, such as -6. Lower scores count as this.
    """
    if not case.expected_texts():
        return Score.unscored("the case has no expected answer")
    value = completion.answer_logprob
    if value is None:
        return Score.unscored("the completion has no log-probability of the expected answer")
    if value > ROUNDING:
        return Score.unscored(f"{value} is not a log-probability: they are 0 or less")
    lowest = FLOOR if least is None else least
    return Score.of(max(value, lowest), f"floored at {lowest:g}" if value < lowest else None)
