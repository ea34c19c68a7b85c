"""The probability of the right choice among the choices of a question."""

from __future__ import annotations

import math

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._choice_likelihoods import Normalize, UnusableCase, choice_likelihoods
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(
    label="probability of the right choice",
    needs=CellKind.CHOICES,
    range=(0.0, 1.0),
    requires=("choices", "answer"),
)
def choice_probability(
    case: Case, completion: Completion, *, normalize: Normalize = "none"
) -> Score:
    """Score the probability of the right choice among those offered.

    The softmax of the choices' log-likelihoods. It falls long before the likeliest choice changes,
    so a regression shows with fewer cases than `choice_accuracy` needs.

    Known problems:
        A model that grows less sure loses probability without a wrong answer: gate
        `choice_accuracy` as well.

    Example:
        Log-likelihoods -1 and -2 with answer 0: 1 / (1 + e⁻¹) = 0.731.

    Options:
        normalize: `none` takes the sums over tokens; `byte` divides each by the choice's UTF-8
            bytes.
    """
    try:
        values = choice_likelihoods(case, completion, normalize)
    except UnusableCase as problem:
        return Score.unscored(str(problem))
    highest = max(values)
    if highest == -math.inf:
        return Score.unscored("no choice has a likelihood above zero")
    weights = [math.exp(value - highest) for value in values]
    return Score.of(weights[case.answer or 0] / math.fsum(weights))
