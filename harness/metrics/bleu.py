"""BLEU: how many of the answer's word sequences are in a reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from tunegate.harness.metric import Metric, metric
from tunegate.harness.metrics import _sacrebleu
from tunegate.harness.records.cases import Case, Completion, Score

Tokenizer = Literal["13a", "intl", "char", "zh", "none"]


def corpus_bleu(sums: Sequence[float]) -> float:
    """Return BLEU from its sums: both lengths, then matches and totals of the four orders.

    Source: Papineni, Roukos, Ward and Zhu (2002), ACL 40:311-318, with the exponential smoothing
    of mteval-v13a (each order without a match counts half as much as the one before), as sacrebleu.
    """
    length, wanted, *ngrams = sums
    matches, totals = ngrams[:4], ngrams[4:]
    if not any(matches) or not all(totals):
        return 0.0
    halves, logs = 1.0, 0.0
    for match, total in zip(matches, totals, strict=True):
        if not match:
            halves /= 2
        logs += math.log((match or halves) / total)
    brevity = min(0.0, 1 - wanted / length)
    return 100 * math.exp(brevity + logs / 4)


def _signature(used: Metric, cases: Sequence[Case]) -> str:
    return _sacrebleu.sacrebleu_signature(_scorer(used.corpus is None, **used.options), cases)


@metric(
    label="BLEU overlap with the reference",
    range=(0.0, 100.0),
    requires=("expected",),
    check=_sacrebleu.check_expected_texts,
    corpus=corpus_bleu,
    signature=_signature,
)
def bleu(
    case: Case, completion: Completion, *, lowercase: bool = False, tokenize: Tokenizer = "13a"
) -> Score:
    """Score the answer's overlap with the expected texts from 0 to 100, as sacrebleu does.

    What it does:
        Counts the answer's sequences of one to four words that are in an expected text, each as
        often as there, and takes the geometric mean of the four shares, less a penalty for an
        answer shorter than the nearest expected text. An arm's level is corpus BLEU: the counts of
        all cases are summed first. A single case has sentence BLEU with effective order. Several
        expected texts are references: a sequence may be in any of them.

    Why:
        It is the number that translation is reported in, and sacrebleu's is the one that can be
        compared: its signature is in the record of the run.

    Known problems:
        It is blind to meaning: a synonym costs as much as nonsense, a lost "not" hardly anything.
        Sentence BLEU is noise; look at the level. Below 50 cases gates on corpus BLEU are advisory;
        `aggregate = "mean"` gates on the mean of sentence BLEU instead, another number. Scores of
        different tokenizers or numbers of references cannot be compared.

    Example:
        Expected `the cat sat on the mat`, answer `the cat sat on a mat`: 5 of 6 words, 3 of 5
        pairs, 2 of 4 triples, 1 of 3 fours; the fourth root of 5/6 · 3/5 · 2/4 · 1/3 makes 53.7.

    Options:
        lowercase: Compare without case.
        tokenize: sacrebleu's name of the rule that makes words: `13a` for languages with spaces,
            `intl` for their punctuation beyond ASCII, `zh` for Chinese, `char` for single
            characters, `none` for texts that are split into words already.
        aggregate: `corpus`, or `mean` for the mean of sentence BLEU.
    """
    missing = _sacrebleu.unscored_reason(case, completion)
    if missing is not None:
        return missing
    scorer = _scorer(True, lowercase=lowercase, tokenize=tokenize)
    found = scorer.sentence_score(completion.text, case.expected_texts())
    counts = (found.sys_len, found.ref_len, *found.counts, *found.totals)
    return Score.of(min(found.score, 100.0), counts=counts)


@cache
def _scorer(effective_order: bool, **options: Any) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=effective_order, **options)
