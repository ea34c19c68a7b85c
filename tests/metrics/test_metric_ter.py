"""TER: sacrebleu's sentence score on a case, and corpus TER from summed counts."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.metrics.ter import corpus_ter, ter
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def score(expected: str | tuple[str, ...], text: str | None, **options: Any) -> Score:
    """Score one answer."""
    return ter(Case(id="c", prompt="p", expected=expected), Completion(text=text), **options)


def level(rows: list[Score]) -> float:
    """Return the corpus value of some scores."""
    counts = [row.counts or () for row in rows]
    return corpus_ter([sum(column) for column in zip(*counts, strict=True)])


@pytest.mark.parametrize(
    ("expected", "text", "counts"),
    [
        ("the cat sat on the mat", "the cat sat on the mat", (0, 6)),
        ("the cat sat on the mat", "the cat sat on a mat", (1, 6)),  # one replaced
        ("the cat sat on the mat", "the cat sat on mat", (1, 6)),  # one missing
        ("the cat sat", "the the cat sat", (1, 3)),  # one too many
        ("on the mat sat the cat", "the cat sat on the mat", (2, 6)),  # two runs moved
        ("b c d a", "a b c d", (1, 4)),  # one moved, however far
        ("The Cat", "the cat", (0, 2)),
        ("a b", "", (2, 2)),
        ("a", "b c d", (3, 1)),  # more edits than words: 300
    ],
)
def test_counts_by_hand(expected: str, text: str, counts: tuple[float, float]) -> None:
    """Edits and words; the score is 100 times their ratio, without an upper end."""
    found = score(expected, text)

    assert found.counts == counts
    assert found.value == pytest.approx(100 * counts[0] / counts[1])


def test_several_references_share_their_length() -> None:
    """One edit from the nearest; lengths 2 and 4 make 3."""
    assert score(("a b", "x y z w"), "a c").counts == (1, 3)


def test_the_corpus_value_sums_first() -> None:
    """3 edits on 7 words, not the mean of 300 and 0."""
    assert level([score("a", "b c d"), score("a b c d e f", "a b c d e f")]) == 100 * 3 / 7


def test_options_reach_the_library() -> None:
    assert score("The cat", "the cat", case_sensitive=True).counts == (1, 2)
    assert score("the cat.", "the cat").counts == (1, 2)
    assert score("the cat.", "the cat", normalized=True).counts == (1, 3)


@pytest.mark.parametrize(
    ("given", "expected", "scored"),
    [(4_000, 500, False), (40_000, 21, False), (20_000, 2, True), (5, 4_000, True)],
)
def test_long_texts_are_bounded(given: int, expected: int, scored: bool) -> None:
    """Moves are not searched for in two long texts; such a case is unscored with its lengths."""
    result = score("b a " * (expected // 2) + "c" * (expected % 2), "a b " * (given // 2))

    assert (result.value is not None) == scored
    if not scored:
        assert str(result.reason).startswith(f"too long for TER: {given:,} words against")
