"""How long the answer is."""

from __future__ import annotations

from typing import Literal

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="length of an answer", higher_is_better=False)
def length(
    case: Case,
    completion: Completion,
    *,
    unit: Literal["words", "characters", "tokens"] = "words",
) -> Score:
    r"""Score the length of the answer; shorter counts as better.

    Judges prefer longer answers and longer answers cost more, so growth is the side to guard.

    Known problems:
        Where answers may become too short, give the gate a `floor`. For languages without spaces,
        count characters.

    Example:
        `The parcel\nis lost.` is 4 words, 19 characters.

    Options:
        unit: `words` (separated by white space), `characters` or the backend's `tokens`.
    """
    if unit == "tokens":
        if completion.output_tokens is None:
            return Score.unscored("the completion has no token count")
        return Score.of(float(completion.output_tokens))
    if completion.text is None:
        return Score.unscored("the completion has no text")
    return Score.of(float(len(completion.text.split() if unit == "words" else completion.text)))
