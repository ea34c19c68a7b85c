"""ROUGE: how much of a reference's wording the answer has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tunegate.harness.contracts.metric import Metric, metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra
from tunegate.harness.records.scores import Score

Variant = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]
Measure = Literal["f", "precision", "recall"]

_CELLS = 20_000_000
"""Largest product of the numbers of words for which a common subsequence is searched."""
_LONGEST_STEMMED = 100
"""Letters of the longest word that is stemmed: the stemmer recurses over runs of one letter."""


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    try:
        import rouge_score  # noqa: F401  # is it there?
    except ImportError as error:
        raise MissingExtra("the metric rouge", "metrics") from error
    return [f"case {case.id!r}: {_WORDLESS}" for case in cases if not _has_words(case)]


def _signature(used: Metric, cases: Sequence[Case]) -> str:
    from importlib.metadata import version

    return f"rouge-score {version('rouge-score')}"


@metric(
    label="ROUGE overlap with the reference",
    range=(0.0, 1.0),
    requires=("expected",),
    check=_check,
    signature=_signature,
)
def rouge(
    case: Case,
    completion: Completion,
    *,
    variant: Variant = "rougeL",
    measure: Measure = "f",
    stemmer: bool = False,
) -> Score:
    """Score the answer's overlap with an expected text from 0 to 1, by Google's rouge-score.

    `rouge1` and `rouge2` count common words and pairs; `rougeL` takes the longest common
    subsequence, `rougeLsum` line by line. Precision, recall and F are parts. The best of several
    expected texts counts.

    Known problems:
        Longer answers have better recall: prefer F. Only `a` to `z` and digits count. It ignores
        facts: a wrong name costs one word.

    Example:
        Expected `the cat sat`, answer `the cat is here`, `rouge1`: precision 0.5, recall 0.667, F
        0.571.

    Options:
        variant: `rouge1`, `rouge2`, `rougeL` or `rougeLsum`.
        measure: The part that is the score: `f`, `precision` or `recall`.
        stemmer: Whether words with the same stem are equal (Porter's, for English).
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if not case.expected_texts():
        return Score.unscored("the case has no expected answer")
    if not _has_words(case):
        return Score.unscored(_WORDLESS)
    from rouge_score.rouge_scorer import RougeScorer

    tokenizer = _RougeTokenizer(stemmer)
    if "L" in variant and _cells(tokenizer, case, completion.text) > _CELLS:
        return Score.unscored("the answer is too long for a longest common subsequence")
    scorer = RougeScorer([variant], tokenizer=tokenizer)
    scores = scorer.score_multi(case.expected_texts(), completion.text)[variant]
    parts = {"precision": scores.precision, "recall": scores.recall, "f": scores.fmeasure}
    return Score.of(parts[measure], parts=parts)


_WORDLESS = "an expected text has no words that ROUGE knows (a to z and digits)"


def _has_words(case: Case) -> bool:
    return all(re.search("[a-z0-9]", text.lower()) for text in case.expected_texts())


class _RougeTokenizer:
    """rouge-score's own tokenizer, without stemming of overlong words."""

    def __init__(self, stemmer: bool) -> None:
        from rouge_score.tokenizers import DefaultTokenizer

        self.plain = DefaultTokenizer(use_stemmer=False)
        self.stemming = DefaultTokenizer(use_stemmer=True) if stemmer else None

    def tokenize(self, text: str) -> list[str]:
        words: list[str] = self.plain.tokenize(text)
        if self.stemming is None:
            return words
        return [
            stem
            for word in words
            for stem in ([word] if len(word) > _LONGEST_STEMMED else self.stemming.tokenize(word))
        ]


def _cells(tokenizer: _RougeTokenizer, case: Case, text: str) -> int:
    """Return the size of the largest table for a common subsequence."""
    if len(text) * max(map(len, case.expected_texts())) <= _CELLS:
        return 0
    return len(tokenizer.tokenize(text)) * max(
        len(tokenizer.tokenize(expected)) for expected in case.expected_texts()
    )
