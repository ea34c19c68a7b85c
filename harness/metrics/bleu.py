"""BLEU: how many of the answer's word sequences are in a reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from tunegate.harness.contracts.metric import Metric, metric
from tunegate.harness.metrics import _sacrebleu
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

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
    return _sacrebleu.signature(
        "BLEU", {**used.options, "effective_order": used.corpus is None}, cases
    )


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
    """Score the answer's overlap with the expected texts from 0 to 100, by sacrebleu.

    Shares of common word sequences of length one to four, as a geometric mean with a penalty for
    short answers. Gates use corpus BLEU; a single case shows sentence BLEU. sacrebleu's signature
    is in the run's record.

    Known problems:
        It ignores meaning: losing a "not" costs hardly anything. Gates are advisory below 50 cases.

    Example:
        Expected `the cat sat on the mat`, answer `the cat sat on a mat`: 53.7.

    Options:
        lowercase: Ignore case.
        tokenize: sacrebleu's word rule: `13a` for languages with spaces, `intl`, `zh`, `char`
            or `none`.
    """
    unscored = _sacrebleu.unscored_reason(case, completion)
    if unscored is not None:
        return unscored
    scorer = _sacrebleu.scorer("BLEU", effective_order=True, lowercase=lowercase, tokenize=tokenize)
    result = scorer.sentence_score(completion.text, case.expected_texts())
    counts = (result.sys_len, result.ref_len, *result.counts, *result.totals)
    return Score.of(min(result.score, 100.0), counts=counts)
