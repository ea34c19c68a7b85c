"""chrF: how much of the reference's characters the answer has, in order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from tunegate.harness.metric import Metric, metric
from tunegate.harness.metrics import _sacrebleu
from tunegate.harness.records.cases import Case, Completion, Score

_RECALL = 4
"""Weight of recall: the square of beta = 2."""


def corpus_chrf(sums: Sequence[float]) -> float:
    """Return chrF2 from its sums: for each order the answer's, the reference's and common ones.

    Source: Popović (2015), WMT 392-395; precision and recall are means over the orders that both
    texts are long enough for, as in sacrebleu.
    """
    orders = list(zip(sums[::3], sums[1::3], sums[2::3], strict=True))
    shares = [(both / given, both / wanted) for given, wanted, both in orders if given and wanted]
    precision = sum(share for share, _ in shares)
    recall = sum(share for _, share in shares)
    if not precision + recall:
        return 0.0
    score = (1 + _RECALL) * precision * recall / (_RECALL * precision + recall)
    return 100 * score / len(shares)


def _signature(used: Metric, cases: Sequence[Case]) -> str:
    return _sacrebleu.sacrebleu_signature(_scorer(**used.options), cases)


@metric(
    label="chrF overlap with the reference",
    range=(0.0, 100.0),
    requires=("expected",),
    check=_sacrebleu.check_expected_texts,
    corpus=corpus_chrf,
    signature=_signature,
)
def chrf(
    case: Case, completion: Completion, *, word_order: Literal[0, 1, 2] = 0, lowercase: bool = False
) -> Score:
    """Score the answer's overlap in characters with an expected text from 0 to 100: chrF2.

    What it does:
        Compares all sequences of one to six characters, spaces left out: F-score of their precision
        and recall, recall counting twice. An arm's level is corpus chrF: the counts of all cases
        are summed first. With several expected texts the closest one counts.

    Why:
        It needs no tokenizer and gives a wrong ending less blame than a wrong word, so that it
        follows people's judgement better than BLEU, in inflected languages above all.

    Known problems:
        Any two texts of one language share characters: unrelated English scores 15 to 25, so that
        the scale begins there. It is as blind to meaning as BLEU. Below 50 cases gates on it are
        advisory.

    Example:
        Expected `ab`, answer `ac`: of two characters one is right, of one pair none; precision and
        recall are (1/2 + 0/1)/2 = 0.25 each, and so is their F-score: 25.

    Options:
        word_order: Compare sequences of up to so many words too; 2 makes chrF++.
        lowercase: Compare without case.
        aggregate: `corpus`, or `mean` for the mean over the cases' own scores.
    """
    unscored = _sacrebleu.unscored_reason(case, completion)
    if unscored is not None:
        return unscored
    scorer = _scorer(word_order=word_order, lowercase=lowercase)
    # The door of sacrebleu's own significance tests: its score object leaves the counts out.
    references = [[text] for text in case.expected_texts()]
    (counts,) = scorer._extract_corpus_statistics([completion.text], references)
    return Score.of(corpus_chrf(counts), counts=counts)


@cache
def _scorer(**options: Any) -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(**options)
