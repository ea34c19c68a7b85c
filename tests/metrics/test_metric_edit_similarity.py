"""edit_similarity: Levenshtein's distance as a share, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics import edit_similarity as module
from tunegate.harness.metrics.edit_similarity import edit_similarity
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def score(expected: str | tuple[str, ...] | None, text: str | None, **options: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="p", expected=expected)
    return edit_similarity.score(case, Completion(text=text), **options)


@pytest.mark.parametrize(
    ("expected", "text", "value"),
    [
        # 1 - edits / longer length
        ("kitten", "sitting", 4 / 7),  # k→s, e→i, +g
        ("kitten", "kitten", 1.0),
        ("abc", "abd", 2 / 3),  # a replacement is one edit, not two (Indel would say 2/3 of 6)
        ("abcd", "acbd", 0.5),  # a swap is two edits
        ("abc", "", 0.0),
        ("", "", 1.0),
        ("", "abc", 0.0),
        ("abc", "xyz", 0.0),
        ("abc", " abc\n", 1.0),  # white space around does not count
        ("abc", "ABC", 0.0),
        ("a b", "a  b", 0.75),  # one of four characters too many
        ("é", "e\u0301", 0.0),  # two code points for one: no Unicode normalisation
    ],
)
def test_counts_edits(expected: str, text: str, value: float) -> None:
    """Each row is 1 - edits / length of the longer text, counted by hand."""
    assert score(expected, text).value == pytest.approx(value)


def test_each_option_drops_one_difference() -> None:
    assert score("abc", "ABC", ignore_case=True).value == 1.0
    assert score("a b", "a \n b", ignore_whitespace=True).value == 1.0
    assert score("a b", "A  B", ignore_case=True).value == 0.75


def test_the_best_of_several_expectations_counts() -> None:
    assert score(("xyz", "abc"), "abd").value == pytest.approx(2 / 3)


def test_texts_too_long_to_compare_are_unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time grows with the product of the lengths, so it has a limit; equal texts need none."""
    monkeypatch.setattr(module, "MOST_PAIRS", 12)

    assert score("abc", "abcd").value == 0.75  # 3 · 4 = 12
    assert score("abc", "abcde").value is None  # 3 · 5
    assert score(("abc", "abcdefgh"), "abcdefgh").value == 1.0
    assert score("abc", "abcde").reason == (
        "too long to compare: 5 characters against 3 expected ones"
    )


def _distance(one: str, two: str) -> int:
    """Fill Wagner's and Fischer's table row by row."""
    row = list(range(len(two) + 1))
    for i, left in enumerate(one, 1):
        previous, row[0] = row[0], i
        for j, right in enumerate(two, 1):
            cost = min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
            previous, row[j] = row[j], cost
    return row[-1]


@given(st.text("abc\ud800 é"), st.text("abc\ud800 é"))
def test_agrees_with_the_plain_definition(expected: str, text: str) -> None:
    one, two = (Completion(text=value).text or "" for value in (expected, text))
    one, two = one.strip(), two.strip()
    longer = max(len(one), len(two))
    value = 1.0 if longer == 0 else 1 - _distance(one, two) / longer

    assert score(expected, text).value == pytest.approx(value)
