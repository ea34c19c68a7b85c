"""token_f1: F1 over words, counted by hand and against the plain definition."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics.token_f1 import token_f1
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.text("ab the,. \n", max_size=40)


def score(expected: str | tuple[str, ...] | None, text: str | None) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    return token_f1.score(Case(id="c", prompt="p", expected=expected), Completion(text=text))


@pytest.mark.parametrize(
    ("expected", "text", "value"),
    [
        # 2 · shared / (given + expected)
        ("Eiffel Tower", "Eiffel Tower", 1.0),
        ("the Eiffel Tower", "Eiffel tower, Paris", 0.8),  # 2·2/(3+2)
        ("guilty", "not guilty", 2 / 3),  # 2·1/(2+1)
        ("red green blue", "blue red", 0.8),  # 2·2/(2+3), order is nothing
        ("go go go", "go", 0.5),  # repeats count: 2·1/(1+3)
        ("go", "go go go", 0.5),
        ("Rome", "Paris", 0.0),
        ("Rome", "", 0.0),
        ("", "", 1.0),  # SQuAD 2.0: no answer where none is expected
        ("", "Rome", 0.0),
        ("the", "an", 1.0),  # nothing is left of either
        ("the", "Rome", 0.0),
        ("A man, a plan!", "man plan", 1.0),
        ("there another", "ere nother", 0.0),  # articles are whole words only
        ("well-known", "wellknown", 1.0),  # punctuation goes without leaving a space
        ("don't", "dont", 1.0),
        ("“Rome”", "Rome", 0.0),  # quotes beyond ASCII stay, as in the original
        ("é", "e\u0301", 0.0),  # no Unicode normalisation
        ("ROME", "rome", 1.0),
        ("a\u00a0b", "b", 1.0),  # a no-break space is white space, and "a" an article
    ],
)
def test_counts_shared_words(expected: str, text: str, value: float) -> None:
    """Each row is 2 · shared / (given + expected), counted by hand."""
    assert score(expected, text).value == pytest.approx(value)


def test_precision_and_recall_are_named() -> None:
    """2 shared words of 3 given and 2 expected."""
    result = score("the Eiffel Tower", "Eiffel tower, Paris")

    assert result.parts == {"precision": 2 / 3, "recall": 1.0}
    assert result.reason == "2 of 2 expected words, 3 given"


def test_the_best_of_several_expectations_counts() -> None:
    assert score(("Rome", "city of Rome"), "city of Rome").value == 1.0


def _squad(text: str) -> list[str]:
    """Normalise in the four steps of SQuAD's paper, one character at a time."""
    bare = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


@given(ANY_TEXT, ANY_TEXT)
def test_agrees_with_precision_and_recall(expected: str, text: str) -> None:
    case, answer = Case(id="c", expected=expected), Completion(text=text)
    wanted, given_words = _squad(case.expected_texts()[0]), _squad(answer.text or "")
    left, shared = list(wanted), 0
    for word in given_words:
        if word in left:
            left.remove(word)
            shared += 1
    if not wanted or not given_words:
        value = float(wanted == given_words)
    elif shared == 0:
        value = 0.0
    else:
        precision, recall = shared / len(given_words), shared / len(wanted)
        value = 2 * precision * recall / (precision + recall)

    assert score(expected, text).value == pytest.approx(value)
