"""chrF: how much of the reference's characters the answer has, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tunegate.harness.contracts.metric import Metric, metric
from tunegate.harness.metrics import _sacrebleu
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

_RECALL = 4
"""Weight of recall: the square of beta = 2."""


def corpus_chrf(sums: Sequence[float]) -> float:
    """Return chrF2 from its sums: for each order the answer's, the reference's and common ones.

    Source: Popović (2015), WMT 392-395; precision and recall are means over the orders that both
    texts are long enough for, as in sacrebleu.
    """
    orders = list(zip(sums[::3], sums[1::3], sums[2::3], strict=True))
    shares = [
        (common / answered, common / wanted)
        for answered, wanted, common in orders
        if answered and wanted
    ]
    precision = sum(share for share, _ in shares)
    recall = sum(share for _, share in shares)
    if not precision + recall:
        return 0.0
    score = (1 + _RECALL) * precision * recall / (_RECALL * precision + recall)
    return 100 * score / len(shares)


def _signature(used: Metric, cases: Sequence[Case]) -> str:
    return _sacrebleu.signature("CHRF", used.options, cases)


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

    F-score of all sequences of one to six characters, recall counting twice (sacrebleu). Gates use
    corpus chrF. The closest of several expected texts counts.

    Known problems:
        Unrelated English texts score 15 to 25. It ignores meaning. Gates are advisory below 50
        cases.

    Example:
        Expected `ab`, answer `ac`: precision and recall are (1/2 + 0/1)/2 = 0.25, the score 25.

    Options:
        word_order: Compare sequences of up to this many words too; 2 makes chrF++.
        lowercase: Ignore case.
    """
    unscored = _sacrebleu.unscored_reason(case, completion)
    if unscored is not None:
        return unscored
    scorer = _sacrebleu.scorer("CHRF", word_order=word_order, lowercase=lowercase)
    # The score object has no counts; this is what sacrebleu uses for its own significance tests.
    references = [[text] for text in case.expected_texts()]
    (counts,) = scorer._extract_corpus_statistics([completion.text], references)
    return Score.of(corpus_chrf(counts), counts=counts)
