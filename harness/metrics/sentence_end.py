"""Whether the answer ends where a sentence ends."""

from __future__ import annotations

import unicodedata

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

_ENDS = frozenset(".!?:;…。！？：；।॥؟۔።།")
"""Marks that end a sentence or open what follows it."""
_CLOSING = ("Pe", "Pf", "So", "Sk", "Sm")
"""Categories of closing brackets and quotes, emoji and the signs of Markdown and formulas."""


@metric(label="answers that end a sentence", binary=True)
def sentence_end(case: Case, completion: Completion) -> Score:
    """Score 1 if the answer ends like a sentence, else 0.

    A last character that is a letter, digit or comma scores 0, and so does an empty answer. A
    fine-tune on truncated rows stops in the middle, which `truncated` does not see.

    Known problems:
        Lists and names end without a mark: gate it against base, with `blocks = false`.

    Example:
        `We will call you on` is 0, `We will call you.` is 1.
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
