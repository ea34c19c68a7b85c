"""How many words the answer shares with the expected text: F1 over tokens, as SQuAD defines it."""

from __future__ import annotations

import re
import string
from collections import Counter

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, Completion, Score

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


@metric(label="word overlap with the reference", range=(0.0, 1.0), requires=("expected",))
def token_f1(case: Case, completion: Completion) -> Score:
    r"""Score the F1 of the answer's words against the expected ones, in any order.

    What it does:
        Both texts are put in small letters, lose ASCII punctuation and the articles a, an, the,
        and are split at white space. With `shared` words in common, repeats counted, the score is
        2 · shared / (words given + words expected). If nothing is left of one text, the score is
        1 where nothing is left of the other one either, else 0. With several expected texts the
        best one counts. It is the definition of SQuAD (Rajpurkar et al., EMNLP 2016) with the
        rule of SQuAD 2.0 for empty texts (Rajpurkar et al., ACL 2018). `precision` and `recall`
        are named sub-scores.

    Why:
        A short answer with a word too many is better than a wrong one, and `exact_match` gives
        both 0.

    Known problems:
        Order and negation are not seen: `not guilty` against `guilty` is 0.67. A script without
        spaces is one word a sentence. Texts are not Unicode-normalised, and punctuation beyond
        ASCII stays, as in the original.

    Example:
        Expected `the Eiffel Tower`, answer `Eiffel tower, Paris`: 2 shared of 3 given and 2
        expected, 2 · 2 / 5 = 0.8.

    Options:
        None.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if not case.expected_texts():
        return Score.unscored("the case has no expected answer")
    given = Counter(_words(completion.text))
    scores = (_compare(given, Counter(_words(text))) for text in case.expected_texts())
    return max(scores, key=lambda score: score.value or 0.0)


def _words(text: str) -> list[str]:
    bare = text.lower().translate(_WITHOUT_PUNCTUATION)
    return _ARTICLE.sub(" ", bare).split()


def _compare(given: Counter[str], wanted: Counter[str]) -> Score:
    if not given or not wanted:
        same = float(given == wanted)
        return Score.of(same, parts={"precision": same, "recall": same})
    shared = (given & wanted).total()
    precision, recall = shared / given.total(), shared / wanted.total()
    return Score.of(
        2 * shared / (given.total() + wanted.total()),
        f"{shared} of {wanted.total()} expected words, {given.total()} given",
        parts={"precision": precision, "recall": recall},
    )
