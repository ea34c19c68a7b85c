"""Probability of the right label."""

from __future__ import annotations

import pytest

from tunegate.harness.metrics.label_probability import label_probability
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case


@pytest.mark.parametrize(
    ("expected", "value"),
    [("a", 0.7), (" b ", 0.3), (("b", "a"), 0.7), ("c", 0.0)],
)
def test_the_right_labels_probability(expected: str | tuple[str, ...], value: float) -> None:
    completion = Completion(text="a", label_probabilities={"a": 0.7, "b": 0.3})

    assert label_probability(Case(id="a", prompt="p", expected=expected), completion).value == value


def test_text_alone_is_unscored() -> None:
    found = label_probability(Case(id="a", prompt="p", expected="a"), Completion(text="a"))

    assert found.reason == "the answer has no probabilities of labels"
