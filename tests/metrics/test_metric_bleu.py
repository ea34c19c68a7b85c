"""BLEU: sacrebleu's sentence score on a case, and corpus BLEU from summed counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from tunegate.harness.metrics.bleu import bleu, corpus_bleu
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "mat", "."]), min_size=1, max_size=12)


def score(expected: str | tuple[str, ...], text: str | None, **options: Any) -> Score:
    """Score one answer."""
    return bleu(Case(id="c", prompt="p", expected=expected), Completion(text=text), **options)


def level(rows: Sequence[Score]) -> float:
    """Return the corpus value of some scores."""
    counts = [row.counts or () for row in rows]
    return corpus_bleu([sum(column) for column in zip(*counts, strict=True)])


@pytest.mark.parametrize(
    ("expected", "text", "counts", "value"),
    [
        # (5/6 · 3/5 · 2/4 · 1/3)^(1/4) = (1/12)^(1/4) = .537285; lengths 6 and 6
        ("the cat sat on the mat", "the cat sat on a mat", (6, 6, 5, 3, 2, 1, 6, 5, 4, 3), 53.7285),
        # effective order 3: (1 · 1 · 1)^(1/3), brevity exp(1 - 6/3) = .367879
        ("the cat sat on the mat", "the cat sat", (3, 6, 3, 2, 1, 0, 3, 2, 1, 0), 36.7879),
        # "the" counts twice at most, as in the reference: 2/4; then 1/2·1/3, 1/4·1/2, 1/8·1/1:
        # (2/4 · 1/6 · 1/8 · 1/8)^(1/4) = (1/768)^(1/4) = .189959; brevity exp(1 - 6/4) = .606531
        ("the cat sat on the mat", "the the the the", (4, 6, 2, 0, 0, 0, 4, 3, 2, 1), 11.5216),
        ("the cat", "dog", (1, 2, 0, 0, 0, 0, 1, 0, 0, 0), 0.0),
        ("the cat", "", (0, 2, 0, 0, 0, 0, 0, 0, 0, 0), 0.0),
    ],
)
def test_counts_and_values_by_hand(
    expected: str, text: str, counts: tuple[float, ...], value: float
) -> None:
    found = score(expected, text)

    assert found.counts == counts
    assert found.value == pytest.approx(value, abs=1e-4)


def test_several_references_share_their_words() -> None:
    """Each reference has one half of the answer; the nearer length, 4, is the one compared."""
    found = score(("a b c d", "e f g h i j k"), "a b e f g")

    # words 5/5; pairs ab, ef, fg of 4; triples efg of 3; no four of 2; nearest length 4
    assert found.counts == (5, 4, 5, 3, 1, 0, 5, 4, 3, 2)


def test_the_corpus_value_sums_first() -> None:
    """Two cases of 53.7 and 36.8 make 44.3 together: neither their mean nor their length's."""
    rows = [score("the cat sat on the mat", t) for t in ("the cat sat on a mat", "the cat sat")]

    # (8/9 · 5/7 · 3/5 · 1/3)^(1/4) = (8/63)^(1/4) = .596955; brevity exp(1 - 12/9) = .716531
    assert level(rows) == pytest.approx(42.7737, abs=1e-3)


def test_an_order_without_a_match_is_smoothed_in_the_corpus_value() -> None:
    # (3/4 · 1/3 · (1/2)/2 · (1/4)/1)^(1/4) = (1/64)^(1/4) = .353553, no penalty
    assert corpus_bleu((4, 4, 3, 1, 0, 0, 4, 3, 2, 1)) == pytest.approx(35.3553, abs=1e-4)


@pytest.mark.parametrize(
    "sums", [(0,) * 10, (4, 4, 0, 0, 0, 0, 4, 3, 2, 1), (3, 3, 3, 2, 1, 0, 3, 2, 1, 0)]
)
def test_a_corpus_without_matches_or_fours_is_zero(sums: tuple[int, ...]) -> None:
    assert corpus_bleu(sums) == 0.0


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, 0.0),
        ({"lowercase": True}, 100.0),
        ({"tokenize": "none"}, 0.0),
    ],
)
def test_options_reach_the_library(options: dict[str, Any], value: float) -> None:
    assert score("THE CAT SAT ON", "the cat sat on", **options).value == pytest.approx(value)


def test_chinese_takes_its_own_tokenizer() -> None:
    """Without spaces 13a sees one word; zh and char see each character."""
    expected, text = "我喜欢吃苹果", "我喜欢吃香蕉"

    assert score(expected, text).value == 0.0
    assert (score(expected, text, tokenize="zh").value or 0) > 50
    assert (score(expected, text, tokenize="char").value or 0) > 50
