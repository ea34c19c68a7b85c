"""Whether the answer is the expected text."""

from __future__ import annotations

import re
import unicodedata

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, Completion, Score

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

    What it does:
        White space around both texts is dropped, then they are compared character by character.
        Several expected texts are alternatives: one is enough.

    Why:
        It is the one metric that nobody has to interpret. Each leniency is an option that is in
        the suite, because a hidden one (ignoring case by default) inflates the score in silence.

    Known problems:
        A right answer in other words scores 0. Texts are not Unicode-normalised: an accent written
        as a separate character differs from the ready-made letter. `ignore_punctuation` turns
        `1.5` into `15`; an expected text that an option leaves empty makes the case unscored.

    Example:
        Expected `["shipping", "delivery"]`: the answer `shipping\n` scores 1, `Shipping` scores 0
        unless `ignore_case = true`.

    Options:
        ignore_case: Compare without case, as Unicode case folding does (`STRASSE` is `straße`).
        ignore_punctuation: Drop every punctuation character (Unicode categories P…) first.
        ignore_whitespace: Count any run of white space as one space.
        ignore_articles: Drop the words `a`, `an` and `the`, after punctuation where both are set.
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
