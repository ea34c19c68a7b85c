"""Expected calibration error of a classifier."""

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
    bins = options.get("bins", 15)
    if 1 <= bins <= 100:
        return []
    return [f"metric 'calibration_error': bins={bins}: must be from 1 to 100"]


def expected_calibration_error(sums: Sequence[float]) -> float:
    """Return the mean gap between confidence and accuracy, weighted by the cases of each bin.

    The sums are (cases, confidence, right labels) of each bin.
    """
    total = sum(sums[0::3])
    gaps = (abs(sure - right) for sure, right in zip(sums[1::3], sums[2::3], strict=True))
    return sum(gaps) / total if total else 0.0


_BIAS = (
    "few cases make it too large, most of all for a well-calibrated base, which hides a loss: give "
    "it a ceiling, and compare the arms by brier_score"
)


@metric(
    label="calibration error",
    range=(0.0, 1.0),
    higher_is_better=False,
    requires=("expected",),
    probabilities=True,
    check=_check,
    corpus=expected_calibration_error,
    heaviest=1.0,
    level_only=_BIAS,
)
def calibration_error(case: Case, completion: Completion, *, bins: int = 15) -> Score:
    """Score the gap between confidence and accuracy over all cases (ECE; Guo et al., 2017).

    The confidence is the probability of the chosen label. Cases are sorted into bins of equal
    width by confidence; in each bin, the mean confidence is compared with the share of right
    labels. Lower is better. A single case's score is |confidence − 1| if it is right, else its
    confidence.

    Known problems:
        Few cases make it too large: by 0.05 with 300 cases and a true error of 0, by less with a
        larger one. So a `ceiling` is on the safe side, and gates on the difference are refused
        (simulated, 300 cases: a true rise of 0.10 from 0 is seen as 0.05); compare the arms by
        `brier_score`. Accuracy is not in it: a classifier that always gives the most frequent
        label, with its share, has 0.

    Example:
        Confidences 0.9 and 0.8, the first right and the second wrong, in two bins: (0.1 + 0.8) / 2
        = 0.45.

    Options:
        bins: Number of bins.
    """
    try:
        probabilities, wanted = (
            label_probabilities(completion, one_label=True),
            expected_labels(case),
        )
    except UnusableLabels as problem:
        return Score.unscored(str(problem))
    answer = max(probabilities, key=lambda label: probabilities[label])
    sure, right = probabilities[answer], float(answer in wanted)
    place = min(int(sure * bins), bins - 1)
    counts = [0.0] * (3 * bins)
    counts[3 * place : 3 * place + 3] = (1.0, sure, right)
    return Score.of(abs(sure - right), counts=counts)
