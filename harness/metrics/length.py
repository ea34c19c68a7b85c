"""How long the answer is."""

from __future__ import annotations

from typing import Literal

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, Completion, Score


@metric(label="length of an answer", higher_is_better=False)
def length(
    case: Case,
    completion: Completion,
    *,
    unit: Literal["words", "characters", "tokens"] = "words",
) -> Score:
    r"""Score the length of the answer; shorter counts as better.

    What it does:
        Counts words (runs of characters without white space), characters (Unicode code points,
        all of them) or the backend's tokens.

    Why:
        Fine-tuning changes how much a model writes. Longer answers cost more and win comparisons by
        judges for their length alone, so growth is the side to guard: `tolerance = "20%"`.

    Known problems:
        Shorter is not better in itself: where answers may become too short, give the gate a
        `floor`. Languages written without spaces have few words: count characters. Tokens of two
        tokenizers are two units.

    Example:
        `The parcel\nis lost.` is 4 words, 19 characters.

    Options:
        unit: `words`, `characters` or `tokens`; tokens need a backend that reports them.
    """
    if unit == "tokens":
        if completion.output_tokens is None:
            return Score.unscored("the completion has no token count")
        return Score.of(float(completion.output_tokens))
    if completion.text is None:
        return Score.unscored("the completion has no text")
    return Score.of(float(len(completion.text.split() if unit == "words" else completion.text)))
