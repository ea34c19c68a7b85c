"""TER: how many edits lead from the answer to a reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from tunegate.harness.metric import Metric, metric
from tunegate.harness.metrics import _sacrebleu
from tunegate.harness.records.cases import Case, Completion, Score

MOST_PAIRS = 600_000
"""Largest product of the two numbers of words whose moves are searched: 600 words against 1,000."""
FEW_WORDS = 20
"""Words of a text so short that the other may have any length: few moves are possible."""


def corpus_ter(sums: Sequence[float]) -> float:
    """Return TER from its sums, edits and words of the references.

    Source: Snover, Dorr, Schwartz, Micciulla and Makhoul (2006), AMTA 223-231.
    """
    edits, words = sums
    return 100 * edits / words


def _signature(used: Metric, cases: Sequence[Case]) -> str:
    return _sacrebleu.sacrebleu_signature(_scorer(**used.options), cases)


@metric(
    label="edits per 100 words",
    higher_is_better=False,
    requires=("expected",),
    check=_sacrebleu.check_expected_texts,
    corpus=corpus_ter,
    signature=_signature,
)
def ter(
    case: Case, completion: Completion, *, case_sensitive: bool = False, normalized: bool = False
) -> Score:
    """Score the edits that turn the answer into an expected text, per 100 of its words.

    What it does:
        Counts words to insert, delete and replace, and runs of words to move, each move being one
        edit however far it goes. 0 is the expected text itself; there is no upper end. With several
        expected texts the nearest one's edits are divided by their mean length. An arm's level is
        corpus TER: edits and lengths of all cases are summed first.

    Why:
        It reads as work: how much a person would have to change. Word order costs once here, where
        BLEU charges it at every joint.

    Known problems:
        The best moves are searched for greedily, as in Tercom, and that takes time: up to ten
        seconds where both texts have 500 words. Beyond 600 words against 1,000 a case is unscored,
        unless one of the texts has at most 20 words. An answer much too long counts its length: one
        loop of 4,000 words can outweigh all other cases. Below 50 cases gates on it are advisory.

    Example:
        Expected `on the mat sat the cat`, answer `the cat sat on the mat`: two moves on six words,
        33.3.

    Options:
        case_sensitive: Count a difference in case as one.
        normalized: Split punctuation from words first, as Tercom's normaliser does.
        aggregate: `corpus`, or `mean` for the mean over the cases' own scores.
    """
    unscored = _sacrebleu.unscored_reason(case, completion)
    if unscored is not None:
        return unscored
    given = len((completion.text or "").split())
    longest = max(len(text.split()) for text in case.expected_texts())
    if given * longest > MOST_PAIRS and min(given, longest) > FEW_WORDS:
        return Score.unscored(
            f"too long for TER: {given:,} words against {longest:,} expected ones"
        )
    scorer = _scorer(case_sensitive=case_sensitive, normalized=normalized)
    found = scorer.sentence_score(completion.text, case.expected_texts())
    return Score.of(found.score, counts=(found.num_edits, found.ref_length))


@cache
def _scorer(**options: Any) -> Any:
    from sacrebleu.metrics.ter import TER

    return TER(**options)
