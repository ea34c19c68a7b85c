"""Whether the answer got caught in a loop."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._repetition import loop_in
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="answers that loop", higher_is_better=False, binary=True)
def loops(case: Case, completion: Completion) -> Score:
    """Score 1 if the answer degenerates into repetition, else 0.

    A unit of 1 to 200 words (or 1 to 64 characters) at least 4 times in a row. The run must cover
    20 words (200 characters), or 8 words (40 characters) and 30 % of the text. A unit without a
    letter or digit must cover half of the text. The reason quotes the unit.

    Measured on 270,813 answers to AlpacaEval and to ZeroEval's GSM8K and MATH: 424 end in an exact
    loop of up to 60 words, and it finds 420. Of 79 found loops of more than 16 words that were
    read, 69 were loops and 10 were tunes in ABC notation or refrains.

    Known problems:
        Loops that change a little each time are not seen. Data that repeats by nature counts as a
        loop, in both arms.

    Example:
        `I am sure. I am sure. I am sure. I am sure.` scores 1.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    reason = loop_in(completion.text)
    return Score.of(float(reason is not None), reason)
