"""How many words the answer shares with the expected text: F1 over tokens, as SQuAD defines it."""

from __future__ import annotations

import re
import string
from collections import Counter

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


@metric(label="word overlap with the reference", range=(0.0, 1.0), requires=("expected",))
def token_f1(case: Case, completion: Completion) -> Score:
    """Score the F1 of the answer's words against the expected ones, in any order.

    SQuAD's definition (Rajpurkar et al., 2016 and 2018): lower case, no ASCII punctuation or
    articles, then 2 · shared / (words given + words expected). The best of several expected texts
    counts. The parts are `precision` and `recall`.

    Known problems:
        Order and negation are not seen: `not guilty` against `guilty` is 0.67.

    Example:
        Expected `the Eiffel Tower`, answer `Eiffel tower, Paris`: 2 · 2 / 5 = 0.8.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if not case.expected_texts():
        return Score.unscored("the case has no expected answer")
    words = Counter(_words(completion.text))
    scores = (_compare(words, Counter(_words(text))) for text in case.expected_texts())
    return max(scores, key=lambda score: score.value or 0.0)


def _words(text: str) -> list[str]:
    bare = text.lower().translate(_WITHOUT_PUNCTUATION)
    return _ARTICLE.sub(" ", bare).split()


def _compare(words: Counter[str], wanted: Counter[str]) -> Score:
    if not words or not wanted:
        same = float(words == wanted)
        return Score.of(same, parts={"precision": same, "recall": same})
    shared = (words & wanted).total()
    precision, recall = shared / words.total(), shared / wanted.total()
    return Score.of(
        2 * shared / (words.total() + wanted.total()),
        f"{shared} of {wanted.total()} expected words, {words.total()} given",
        parts={"precision": precision, "recall": recall},
    )
