"""length: words, characters or tokens; informative, and shorter counts as better."""

from __future__ import annotations

import pytest

from tunegate.harness.metrics.length import length
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CASE = Case(id="c", prompt="p")


def score(text: str | None, unit: str = "words", tokens: int | None = None) -> Score:
    """Score a completion without the safety net of Metric.__call__."""
    return length.score(CASE, Completion(text=text, output_tokens=tokens), unit=unit)


@pytest.mark.parametrize(
    ("text", "words", "characters"),
    [
        ("", 0, 0),
        ("   \n", 0, 4),
        ("The parcel\nis lost.", 4, 19),  # 3+1+6 +1+ 2+1+5
        ("a\u00a0b\u3000c", 3, 5),  # Unicode white space separates
        ("你好世界", 1, 4),  # no spaces, one word: the documented limit
        ("😀😀", 1, 2),
        ("e\u0301", 1, 2),  # code points, not glyphs
        ("a\0b", 1, 3),
        ("\ud800 x", 2, 3),
        ("שלום עולם", 2, 9),
    ],
)
def test_counts_words_and_characters(text: str, words: int, characters: int) -> None:
    """Words are runs without white space; characters are code points, all of them."""
    assert score(text) == Score(value=words)
    assert score(text, "characters") == Score(value=characters)


def test_tokens_are_the_backends() -> None:
    assert score("four words are here", "tokens", 7).value == 7.0
    assert score(None, "tokens", 0).value == 0.0


@pytest.mark.parametrize(
    ("text", "unit", "tokens"),
    [(None, "words", 3), (None, "characters", 3), ("x", "tokens", None)],
)
def test_missing_data_is_unscored(text: str | None, unit: str, tokens: int | None) -> None:
    """A missing text is not a text of length 0."""
    result = score(text, unit, tokens)

    assert result.value is None
    assert result.reason
