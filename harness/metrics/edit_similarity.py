"""How close the answer's characters are to the expected text."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

MOST_PAIRS = 10**10
"""Largest product of the two lengths that is compared: 100,000 characters against as many."""


@metric(label="similarity to the reference", range=(0.0, 1.0), requires=("expected",))
def edit_similarity(
    case: Case,
    completion: Completion,
    *,
    ignore_case: bool = False,
    ignore_whitespace: bool = False,
) -> Score:
    """Score 1 minus the share of characters that must be edited.

    1 - Levenshtein distance / length of the longer text (rapidfuzz), without white space at the
    ends. The best of several expected texts counts.

    Known problems:
        Unrelated texts of one language score 0.2 to 0.3. Beyond 100,000 against 100,000 characters
        a case is unscored.

    Example:
        Expected `kitten`, answer `sitting`: 3 edits, 7 characters, 1 - 3 / 7 = 0.57.

    Options:
        ignore_case: Ignore case.
        ignore_whitespace: Treat any run of white space as one space.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if not case.expected_texts():
        return Score.unscored("the case has no expected answer")

    def plain(text: str) -> str:
        text = text.casefold() if ignore_case else text
        return " ".join(text.split()) if ignore_whitespace else text.strip()

    answer = plain(completion.text)
    wanted = [plain(text) for text in case.expected_texts()]
    if answer in wanted:
        return Score.of(1.0)
    longest = max(map(len, wanted))
    if len(answer) * longest > MOST_PAIRS:
        return Score.unscored(
            f"too long to compare: {len(answer):,} characters against {longest:,} expected ones"
        )
    return Score.of(max(Levenshtein.normalized_similarity(answer, text) for text in wanted))
