"""How many of the answer's words are in the context: no judge, no understanding."""

from __future__ import annotations

import re

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

_WORD = re.compile(r"\w+(?:[.,:/-]\w+)*")
_SHORTEST = 4
"""Letters from which a word is taken to have content; words with a digit always have."""


@metric(
    label="words found in the context", range=(0.0, 1.0), requires=("context",), indicative=True
)
def lexical_support(case: Case, completion: Completion) -> Score:
    """Score the share of the answer's content words that are in the context.

    Content words have four letters or more, or a digit. The reason names the missing ones. An
    answer without any is unscored. Gates are advisory.

    Known problems:
        It does not read: a denial scores like its claim. For a verdict use the judge
        `faithfulness`.

    Example:
        Context "The parcel left Hamburg on 3 May.", answer "It left Bremen on 3 May.": `left` and
        `3` are there, `Bremen` is not: 0.667.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if case.context is None:
        return Score.unscored("the case has no context")
    words = [word for word in _words(completion.text) if _has_content(word)]
    if not words:
        return Score.unscored("the answer has no content word to look up")
    context_words = set(_words(case.context))
    missing = [word for word in words if word not in context_words]
    shown = ", ".join(dict.fromkeys(missing))
    return Score.of(
        1 - len(missing) / len(words), f"not in the context: {shown[:200]}" if missing else None
    )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _has_content(word: str) -> bool:
    return len(word) >= _SHORTEST or any(character.isdigit() for character in word)
