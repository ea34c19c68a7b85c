"""Brier score, against its formula."""

from __future__ import annotations

import pytest

from tunegate.harness.metrics.brier_score import brier_score
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

SHARES = {"a": 0.5, "b": 0.3, "c": 0.2}


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ("a", 0.5**2 + 0.3**2 + 0.2**2),
        ("c", 0.5**2 + 0.3**2 + 0.8**2),
        (("c", "b"), 0.5**2 + 0.7**2 + 0.2**2),
        ("unknown", 1 + 0.5**2 + 0.3**2 + 0.2**2),
    ],
)
def test_the_distance_over_all_labels(expected: str | tuple[str, ...], value: float) -> None:
    case = Case(id="a", prompt="p", expected=expected)

    assert brier_score(case, Completion(label_probabilities=SHARES)).value == pytest.approx(value)


def test_several_labels_are_unscored() -> None:
    found = brier_score(Case(id="a", prompt="p", expected="a"), Completion(
        label_probabilities={"a": 0.9, "b": 0.9}
    ))  # fmt: skip

    assert found.value is None
