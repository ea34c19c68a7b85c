"""How well the model predicts a text, in bits per byte."""

from __future__ import annotations

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, CellKind, Completion, Score


@metric(label="bits per byte of text", needs=CellKind.TEXT, higher_is_better=False)
def bits_per_byte(case: Case, completion: Completion) -> Score:
    """Score the bits that the model needs for each byte of the case's prompt.

    What it does:
        The model writes nothing: the prompt itself is read. 8 is what no model at all needs, about
        1 a good one for English. Lower is better. Set `template = "none"` under `[generation]`, or
        the chat template's own words count as well.

    Why:
        A few hundred general documents show whether a fine-tune has cost language itself, long
        before an accuracy moves; and the number means the same for every tokenizer.

    Known problems:
        It is unbounded: one absurd document can outweigh many. It does not show what was forgotten.
        A fine-tune to another style raises it without any harm.

    Example:
        `tolerance = "2%"` allows the mean to rise by 2 % of base's.

    Options:
        None.
    """
    if completion.bits_per_byte is None:
        return Score.unscored("the completion has no bits per byte")
    return Score.of(completion.bits_per_byte)
