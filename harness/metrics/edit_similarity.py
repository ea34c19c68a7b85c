"""How close the answer's characters are to the expected text."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, Completion, Score

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
    r"""Score 1 minus the share of characters that must be edited.

    What it does:
        Levenshtein's distance is the smallest number of characters to insert, delete or replace;
        the score is 1 - distance / length of the longer text (rapidfuzz's normalized_similarity
        of Levenshtein). White space around both texts is dropped; two empty texts are alike. With
        several expected texts the best one counts.

    Why:
        Where an answer is copied, transcribed or corrected, one wrong letter is nearly right, and
        `exact_match` gives it nothing.

    Known problems:
        Unrelated texts of one language share letters and score 0.2 to 0.3, never 0. A swapped
        order of words costs as much as wrong words. Characters are code points, not
        Unicode-normalised. The time grows with the product of both lengths; beyond 100,000
        against 100,000 characters a case is unscored.

    Example:
        Expected `kitten`, answer `sitting`: 3 edits, 7 characters, 1 - 3 / 7 = 0.57.

    Options:
        ignore_case: Compare without case, as Unicode case folding does.
        ignore_whitespace: Count any run of white space as one space.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if not case.expected_texts():
        return Score.unscored("the case has no expected answer")

    def plain(text: str) -> str:
        text = text.casefold() if ignore_case else text
        return " ".join(text.split()) if ignore_whitespace else text.strip()

    given = plain(completion.text)
    wanted = [plain(text) for text in case.expected_texts()]
    if given in wanted:
        return Score.of(1.0)
    longest = max(map(len, wanted))
    if len(given) * longest > MOST_PAIRS:
        return Score.unscored(
            f"too long to compare: {len(given):,} characters against {longest:,} expected ones"
        )
    return Score.of(max(Levenshtein.normalized_similarity(given, text) for text in wanted))
