"""Probabilities of a classifier's labels, as the metrics read them."""

from __future__ import annotations

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case


class UnusableLabels(ValueError):
    """The answer or the case cannot be scored; says why."""


def label_probabilities(completion: Completion, *, one_label: bool = False) -> dict[str, float]:
    """Return the probability of each label.

    Raises:
        UnusableLabels: the answer has no probabilities, or several labels may apply at once and
            `one_label` is asked for.
    """
    probabilities = dict(completion.label_probabilities or {})
    if not probabilities:
        raise UnusableLabels("the answer has no probabilities of labels")
    if one_label and abs(sum(probabilities.values()) - 1) > 1e-6:
        raise UnusableLabels("several labels may apply: the probabilities do not add up to 1")
    return probabilities


def expected_labels(case: Case) -> tuple[str, ...]:
    """Return the case's labels.

    Raises:
        UnusableLabels: the case has no `expected`.
    """
    if not case.expected_texts():
        raise UnusableLabels("the case has no expected label")
    return tuple(text.strip() for text in case.expected_texts())
