"""Whether the answer is the expected text."""

from __future__ import annotations

import re
import unicodedata

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

_ARTICLE = re.compile(r"(?<!\S)(?:a|an|the)(?!\S)\s*", re.IGNORECASE)
"""`a-b` and `vitamin A.` keep theirs: an article is a word of its own."""


@metric(label="exactly right answers", binary=True, requires=("expected",))
def exact_match(
    case: Case,
    completion: Completion,
    *,
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    ignore_whitespace: bool = False,
    ignore_articles: bool = False,
) -> Score:
    r"""Score 1 if the answer equals one of the expected texts, else 0.

    White space at the ends is dropped, then texts are compared character by character.

    Known problems:
        Texts are not Unicode-normalized. `ignore_punctuation` turns `1.5` into `15`.

    Example:
        Expected `["shipping", "delivery"]`: `shipping\n` scores 1, `Shipping` only with
        `ignore_case = true`.

    Options:
        ignore_case: Ignore case, by Unicode case folding (`STRASSE` is `straße`).
        ignore_punctuation: Drop every punctuation character first.
        ignore_whitespace: Treat any run of white space as one space.
        ignore_articles: Drop the words `a`, `an` and `the`.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if not case.expected_texts():
        return Score.unscored("the case has no expected answer")

    def plain(text: str) -> str:
        if ignore_punctuation:
            text = "".join(c for c in text if not unicodedata.category(c).startswith("P"))
        if ignore_case:
            text = text.casefold()
        if ignore_articles:
            text = _ARTICLE.sub("", text)
        return " ".join(text.split()) if ignore_whitespace else text.strip()

    wanted = {plain(text) for text in case.expected_texts()}
    if "" in wanted and all(text.strip() for text in case.expected_texts()):
        return Score.unscored("nothing is left of the expected answer under the options")
    return Score.of(float(plain(completion.text) in wanted))
