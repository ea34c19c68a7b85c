"""F1 of the labels that a classifier of several labels chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._label_probabilities import (
    UnusableLabels,
    expected_labels,
    label_probabilities,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    threshold = options.get("threshold", 0.5)
    if 0 < threshold < 1:
        return []
    return [f"metric 'label_set_f1': threshold={threshold}: must be between 0 and 1"]


@metric(
    label="F1 of the labels",
    range=(0.0, 1.0),
    requires=("expected",),
    probabilities=True,
    check=_check,
)
def label_set_f1(case: Case, completion: Completion, *, threshold: float = 0.5) -> Score:
    """Score F1 of the chosen labels against all of `expected`.

    A label is chosen if its probability is above the threshold. No label where none is expected
    (`expected: ""`) is 1. The mean is scikit-learn's `f1_score(…, average="samples",
    zero_division=1)`.

    Known problems:
        A case with many labels weighs as much as one with few.

    Example:
        Expected `late` and `refund`; `late` and `damaged` chosen: 2 · 1 / (2 + 2) = 0.5.

    Options:
        threshold: Probability above which a label is chosen.
    """
    try:
        probabilities, wanted = label_probabilities(completion), {*expected_labels(case)} - {""}
    except UnusableLabels as problem:
        return Score.unscored(str(problem))
    chosen = {label for label, share in probabilities.items() if share > threshold}
    if not chosen | wanted:
        return Score.of(1.0)
    return Score.of(2 * len(chosen & wanted) / (len(chosen) + len(wanted)))
