"""F1 of several labels at once."""

from __future__ import annotations

import pytest

from tunegate.harness.metrics.label_set_f1 import label_set_f1
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

SHARES = {"late": 0.9, "damaged": 0.6, "refund": 0.2}


@pytest.mark.parametrize(
    ("expected", "threshold", "value"),
    [
        (("late", "damaged"), 0.5, 1.0),
        (("late", "refund"), 0.5, 0.5),
        ("late", 0.5, 2 / 3),
        ("refund", 0.5, 0.0),
        ("", 0.95, 1.0),
        ("", 0.5, 0.0),
        ("late", 0.7, 1.0),
    ],
)
def test_chosen_labels_against_all_expected(
    expected: str | tuple[str, ...], threshold: float, value: float
) -> None:
    case = Case(id="a", prompt="p", expected=expected)
    found = label_set_f1(case, Completion(label_probabilities=SHARES), threshold=threshold)

    assert found.value == pytest.approx(value)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_threshold_has_limits(threshold: float) -> None:
    assert label_set_f1.check is not None
    assert label_set_f1.check({"threshold": threshold}, ()) == [
        f"metric 'label_set_f1': threshold={threshold}: must be between 0 and 1"
    ]
