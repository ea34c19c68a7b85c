"""TER: how many edits lead from the answer to a reference."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.harness.contracts.metric import Metric, metric
from tunegate.harness.metrics import _sacrebleu
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

MOST_PAIRS = 600_000
"""Largest product of the numbers of words: 600 words against 1,000."""
FEW_WORDS = 20
"""Words of a text so short that few moves are possible; the other may have any length."""


def corpus_ter(sums: Sequence[float]) -> float:
    """Return TER from its sums, edits and words of the references.

    Source: Snover, Dorr, Schwartz, Micciulla and Makhoul (2006), AMTA 223-231.
    """
    edits, words = sums
    return 100 * edits / words


def _signature(used: Metric, cases: Sequence[Case]) -> str:
    return _sacrebleu.signature("TER", used.options, cases)


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

    Words inserted, deleted or replaced, and runs of words moved (sacrebleu). 0 is the expected
    text. Gates use corpus TER. With several expected texts, the edits to the nearest are divided by
    their mean length.

    Known problems:
        Beyond 600 words against 1,000 a case is unscored. One loop of 4,000 words can outweigh all
        other cases. Gates are advisory below 50 cases.

    Example:
        Expected `on the mat sat the cat`, answer `the cat sat on the mat`: two moves, 33.3.

    Options:
        case_sensitive: Count a difference in case as an edit.
        normalized: Split punctuation from words first.
    """
    unscored = _sacrebleu.unscored_reason(case, completion)
    if unscored is not None:
        return unscored
    length = len((completion.text or "").split())
    longest = max(len(text.split()) for text in case.expected_texts())
    if length * longest > MOST_PAIRS and min(length, longest) > FEW_WORDS:
        return Score.unscored(
            f"too long for TER: {length:,} words against {longest:,} expected ones"
        )
    scorer = _sacrebleu.scorer("TER", case_sensitive=case_sensitive, normalized=normalized)
    result = scorer.sentence_score(completion.text, case.expected_texts())
    return Score.of(result.score, counts=(result.num_edits, result.ref_length))
