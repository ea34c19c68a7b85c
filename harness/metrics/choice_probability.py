"""The probability of the right choice among the choices of a question."""

from __future__ import annotations

import math

from tunegate.harness.metric import metric
from tunegate.harness.metrics._choice_likelihoods import Normalize, UnusableCase, choice_likelihoods
from tunegate.harness.records.cases import Case, CellKind, Completion, Score


@metric(
    label="probability of the right choice",
    needs=CellKind.CHOICES,
    range=(0.0, 1.0),
    requires=("choices", "answer"),
)
def choice_probability(
    case: Case, completion: Completion, *, normalize: Normalize = "none"
) -> Score:
    """Score the probability that the model gives the right choice among those offered.

    What it does:
        Softmax over the choices' log-likelihoods, then the share of the right one. A likelihood of
        minus infinity is a probability of 0; if every choice has it, the case is unscored.

    Why:
        A model forgets gradually. The probability falls long before the likeliest choice changes,
        so a regression shows with a fraction of the cases that `choice_accuracy` needs, and the
        value is bounded, which the statistics need.

    Known problems:
        A fine-tune that grows less sure of everything loses probability without one wrong answer:
        gate `choice_accuracy` as well. With `byte` the values are no probabilities of the texts,
        only a comparison of them.

    Example:
        Log-likelihoods -1 and -2 with answer 0: 1 / (1 + e⁻¹) = 0.731.

    Options:
        normalize: `none` takes the sums over tokens; `byte` divides each by the UTF-8 bytes of the
            choice first.
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
