"""How well the model predicts a text, in bits per byte."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="bits per byte of text", needs=CellKind.TEXT, higher_is_better=False)
def bits_per_byte(case: Case, completion: Completion) -> Score:
    """Score the bits that the model needs for each byte of the case's prompt.

    The model reads a prompt and writes nothing. 8 means no model at all, about 1 a good one for
    English. Set `template = "none"` under `[generation]`, or the chat template counts as well.

    Known problems:
        One absurd document can outweigh many. A change of style raises it without harm.

    Example:
        `tolerance = "2%"` lets the mean rise by 2 % of base's.
    """
    if completion.bits_per_byte is None:
        return Score.unscored("the completion has no bits per byte")
    return Score.of(completion.bits_per_byte)
