"""ROUGE: rouge-score's numbers, and what it cannot measure is unscored."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from tunegate.harness.metrics.rouge import rouge
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import load_suite

VARIANTS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
TEXTS = st.lists(
    st.sampled_from(["the", "cats", "sitting", "sat", "on", "\n"]), min_size=1, max_size=10
).map(lambda words: "the " + " ".join(words))


def score(expected: str | tuple[str, ...], text: str | None, **options: Any) -> Score:
    """Score one answer."""
    return rouge(Case(id="c", prompt="p", expected=expected), Completion(text=text), **options)


@pytest.mark.parametrize(
    ("variant", "expected", "text", "precision", "recall"),
    [
        ("rouge1", "the cat sat", "the cat is here", 2 / 4, 2 / 3),
        ("rouge2", "the cat sat", "the cat is here", 1 / 3, 1 / 2),
        ("rouge1", "the cat", "the the the", 1 / 3, 1 / 2),  # as often as it is expected
        ("rougeL", "a b c d", "b x d y a", 2 / 5, 2 / 4),  # b … d
        ("rouge1", "a b c d", "b x d y a", 3 / 5, 3 / 4),
        # line by line: "a b" finds both, "c d" finds c in the second line
        ("rougeLsum", "a b\nc d", "c x\na b", 3 / 4, 3 / 4),
        ("rougeL", "a b\nc d", "c x\na b", 2 / 4, 2 / 4),  # a b
        ("rouge1", "The CAT, sat.", "the cat sat", 1.0, 1.0),
        ("rouge1", "cat", "好", 0.0, 0.0),  # the answer's script vanishes
        ("rouge1", "cat", "", 0.0, 0.0),
    ],
)
def test_values_by_hand(
    variant: str, expected: str, text: str, precision: float, recall: float
) -> None:
    """Shares of the answer and of the expected text, and F between them."""
    both = precision + recall
    harmonic = 2 * precision * recall / both if both else 0.0
    found = score(expected, text, variant=variant)

    assert found.value == pytest.approx(harmonic)
    assert found.parts == pytest.approx({"precision": precision, "recall": recall, "f": harmonic})


def test_the_measure_is_an_option() -> None:
    """Precision 1/2 and recall 2/3 as the score itself."""
    options = {"variant": "rouge1"}

    assert score("the cat sat", "the cat is here", measure="precision", **options).value == 1 / 2
    assert score("the cat sat", "the cat is here", measure="recall", **options).value == 2 / 3


def test_the_stemmer_is_an_option() -> None:
    """Porter takes `sitting` and `sits` for one word; words of three letters stay."""
    assert score("sitting", "sits").value == 0.0
    assert score("sitting", "sits", stemmer=True).value == 1.0


def test_the_best_of_several_references_counts() -> None:
    """1 against the second, whatever the first."""
    assert score(("x y z", "the cat"), "the cat").value == 1.0


@given(st.lists(TEXTS, min_size=1, max_size=3), TEXTS, st.sampled_from(VARIANTS), st.booleans())
def test_cases_agree_with_the_library(
    expected: list[str], text: str, variant: str, stemmer: bool
) -> None:
    theirs = RougeScorer([variant], use_stemmer=stemmer).score_multi(expected, text)[variant]
    found = score(tuple(expected), text, variant=variant, stemmer=stemmer)

    assert found.parts == {
        "precision": theirs.precision, "recall": theirs.recall, "f": theirs.fmeasure,
    }  # fmt: skip


def test_an_expected_text_without_words_is_unscored() -> None:
    assert score(("a", "好"), "a").value is None


def test_a_table_without_end_is_unscored() -> None:
    """6,000 by 6,000 words have no subsequence in reasonable time; single words are counted."""
    long = "a b " * 3_000

    assert score(long, long).reason == "the answer is too long for a longest common subsequence"
    assert score(long, long, variant="rouge1").value == 1.0


def test_what_is_no_word_does_not_break_the_stemmer() -> None:
    assert score("cat", "y" * 100_000, stemmer=True).value == 0.0


def test_a_script_that_vanishes_is_refused_at_load(suite_folder: Any) -> None:
    toml = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "rouge"\n'
    folder = suite_folder(toml, [{"id": "a", "prompt": "p", "expected": "好"}])

    with pytest.raises(SuiteError, match=r"suite\.toml:4: case 'a': an expected text has no words"):
        load_suite(folder)


@pytest.mark.parametrize(
    ("use", "library"),
    [
        ("bleu", "sacrebleu"),
        ("chrf", "sacrebleu"),
        ("ter", "sacrebleu"),
        ("rouge", "rouge_score"),
    ],
)
def test_without_the_library_the_suite_says_what_to_install(
    use: str, library: str, suite_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = f'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "{use}"\n'
    folder = suite_folder(toml, [{"id": "a", "prompt": "p", "expected": "x"}])
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(SuiteError) as caught:
        load_suite(folder)
    (problem,) = caught.value.problems
    assert "suite.toml:4: " in problem
    assert problem.endswith("not installed: pip install 'tunegate[metrics]'")
