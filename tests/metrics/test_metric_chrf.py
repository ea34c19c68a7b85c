"""chrF: sacrebleu's sentence score on a case, and corpus chrF from summed counts."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.metrics.chrf import chrf, corpus_chrf
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def score(expected: str | tuple[str, ...], text: str | None, **options: Any) -> Score:
    """Score one answer."""
    return chrf(Case(id="c", prompt="p", expected=expected), Completion(text=text), **options)


def level(rows: list[Score]) -> float:
    """Return the corpus value of some scores."""
    counts = [row.counts or () for row in rows]
    return corpus_chrf([sum(column) for column in zip(*counts, strict=True)])


@pytest.mark.parametrize(
    ("expected", "text", "value"),
    [
        # orders 1 and 2: (1/2 + 0/1)/2 = .25 on both sides
        ("ab", "ac", 25.0),
        # precision (1 + 1)/2 = 1; recall (2/4 + 1/3)/2 = 5/12; 5·(5/12)/(4 + 5/12) = 25/53
        ("abcd", "ab", 100 * 25 / 53),
        # the other way: precision 5/12, recall 1: 5·(5/12)/(4·5/12 + 1) = 25/32
        ("ab", "abcd", 100 * 25 / 32),
        ("a b", "ab", 100.0),  # spaces are left out
        ("ab", "", 0.0),
        ("ab", "xy", 0.0),
    ],
)
def test_values_by_hand(expected: str, text: str, value: float) -> None:
    """Means of precision and recall over the orders, recall counting twice."""
    assert score(expected, text).value == pytest.approx(value)


def test_the_closest_of_several_references_counts() -> None:
    """25 against the first, 100 against the second."""
    assert score(("ac", "ab"), "ab").value == pytest.approx(100.0)


def test_the_corpus_value_sums_first() -> None:
    """Order 1: 1 of 2 and 4 of 4; order 2: 0 of 1 and 3 of 3; orders 3, 4: 2 of 2, 1 of 1."""
    rows = [score("ab", "ac"), score("abcd", "abcd")]

    # precision = recall = (5/6 + 3/4 + 1 + 1)/4 = 43/48, and so is their F-score
    assert level(rows) == pytest.approx(100 * 43 / 48)


def test_case_counts_unless_told_otherwise() -> None:
    """`lowercase` reaches the library."""
    assert score("AB", "ab").value == 0.0
    assert score("AB", "ab", lowercase=True).value == pytest.approx(100.0)
