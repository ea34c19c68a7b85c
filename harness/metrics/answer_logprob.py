"""How likely the model finds the expected answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tunegate.harness.metric import Metric, metric
from tunegate.harness.metrics._choice_likelihoods import ROUNDING
from tunegate.harness.records.cases import Case, CellKind, Completion, Score

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

    What it does:
        The model writes nothing: the expected answer is scored after the prompt. 0 is certainty,
        -0.69 one chance in two per token. Values under -50, minus infinity among them, become -50.

    Why:
        It moves with every change of the weights, even where the written answer stays the same, so
        it needs the fewest cases of all to see that knowledge is fading.

    Known problems:
        Without `least` it is unbounded: one absurd token can outweigh many cases, and its gates
        are advisory below 200 cases. It measures the wording as well as the content, so a fine-tune
        to another style lowers it, and so does a model that only grows surer of its own wording.
        Two arms with different tokenizers have different tokens and cannot be compared by it.

    Example:
        `tolerance = 0.02` allows the mean to fall by 0.02 nats, 2 % of the probability per token.

    Options:
        least: Lower end of the scores in nats, such as -6 (a chance of 1 in 400 per token). Less
            likely answers count as it, so that the scores have a range.
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
