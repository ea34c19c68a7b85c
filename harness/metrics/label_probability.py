"""The probability that a classifier gives the right label."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._label_probabilities import (
    UnusableLabels,
    expected_labels,
    label_probabilities,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(
    label="probability of the right label",
    range=(0.0, 1.0),
    requires=("expected",),
    probabilities=True,
)
def label_probability(case: Case, completion: Completion) -> Score:
    """Score the probability of the right label; of the likeliest one if several are right.

    It falls long before another label wins, so a regression shows with fewer cases than
    `classification` needs. A label that the classifier does not have has probability 0.

    Known problems:
        A classifier that grows less sure loses probability without a wrong label: gate
        `classification` as well. For several labels at once take `label_set_f1`.

    Example:
        Probabilities 0.7 for `refund` and 0.3 for `delivery`; expected `delivery`: 0.3.
    """
    try:
        probabilities, wanted = label_probabilities(completion), expected_labels(case)
    except UnusableLabels as problem:
        return Score.unscored(str(problem))
    return Score.of(max(probabilities.get(label, 0.0) for label in wanted))
