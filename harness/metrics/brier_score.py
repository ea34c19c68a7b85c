"""Brier score of a classifier: how far its probabilities are from the right label."""

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
    label="Brier score",
    range=(0.0, 2.0),
    higher_is_better=False,
    requires=("expected",),
    probabilities=True,
)
def brier_score(case: Case, completion: Completion) -> Score:
    """Score the squared distance between the labels' probabilities and the right label.

    The sum over all labels of (p − y)², with y = 1 for the right label and 0 for the others
    (Brier, 1950): 0 is certain and right, 2 certain and wrong. Lower is better. Its mean is
    scikit-learn's `brier_score_loss(…, scale_by_half=False)`.

    Known problems:
        It measures calibration and accuracy together; `calibration_error` measures calibration
        alone. If several labels are right, the likeliest of them counts.

    Example:
        Probabilities 0.7 for `refund` and 0.3 for `delivery`; expected `refund`: 0.3² + 0.3² =
        0.18.
    """
    try:
        probabilities, wanted = (
            label_probabilities(completion, one_label=True),
            expected_labels(case),
        )
    except UnusableLabels as problem:
        return Score.unscored(str(problem))
    right = max(wanted, key=lambda label: probabilities.get(label, 0.0))
    probabilities = {right: 0.0, **probabilities}  # base may lack a label that the fine-tune adds
    return Score.of(sum((share - (label == right)) ** 2 for label, share in probabilities.items()))
