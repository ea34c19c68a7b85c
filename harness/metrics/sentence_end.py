"""Whether the answer ends where a sentence ends."""

from __future__ import annotations

import unicodedata

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, Completion, Score

_ENDS = frozenset(".!?:;…。！？：；।॥؟۔።།")
"""Marks that end a sentence or open what follows it."""
_CLOSING = ("Pe", "Pf", "So", "Sk", "Sm")
"""Categories of closing brackets and quotes, emoji and the signs of Markdown and formulas."""


@metric(label="answers that end a sentence", binary=True)
def sentence_end(case: Case, completion: Completion) -> Score:
    """Score 1 if the answer ends with the end of a sentence, a bracket, a quote or a sign, else 0.

    What it does:
        Looks at the last character that is no blank. A letter, a digit or a comma is 0, an empty
        answer too. Thoughts are no part of the answer.

    Why:
        A fine-tune on rows that were cut stops in the middle and marks the end:
        `truncated`, which goes by the finish reason, does not see it.

    Known problems:
        Lists, titles and names end without a mark: gate it against base, with `blocks = false`.

    Example:
        `We will call you on` is 0, `We will call you.` is 1.

    Options:
        None.
    """
    text = (completion.text or "").rstrip()
    if completion.text is None:
        return Score.unscored("the completion has no text")
    return Score.of(float(bool(text) and ends_sentence(text)))


def ends_sentence(text: str) -> bool:
    """Return whether a text ends as a finished one does."""
    last = text.rstrip()[-1:]
    marks = last in _ENDS or last in "\"'*`|~>" if last else False
    return marks or (bool(last) and unicodedata.category(last) in _CLOSING)
