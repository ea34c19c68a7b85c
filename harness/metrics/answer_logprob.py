"""How likely the model finds the expected answer."""

from __future__ import annotations

from tunegate.harness.metric import metric
from tunegate.harness.metrics._choice_likelihoods import ROUNDING
from tunegate.harness.records.cases import Case, CellKind, Completion, Score

FLOOR = -50.0
"""Least log-probability per token, in nats: it replaces minus infinity."""


@metric(label="likelihood of the reference answer", needs=CellKind.ANSWER, requires=("expected",))
def answer_logprob(case: Case, completion: Completion) -> Score:
    """Score the mean natural-log probability per token of the expected answer.

    What it does:
        The model writes nothing: the expected answer is scored after the prompt. 0 is certainty,
        -0.69 one chance in two per token. Values under -50, minus infinity among them, become -50.

    Why:
        It moves with every change of the weights, even where the written answer stays the same, so
        it needs the fewest cases of all to see that knowledge is fading.

    Known problems:
        It is unbounded: one absurd token can outweigh many cases. It measures the wording as well
        as the content, so a fine-tune to another style lowers it. Two arms with different
        tokenizers have different tokens and cannot be compared by it.

    Example:
        `tolerance = 0.02` allows the mean to fall by 0.02 nats, 2 % of the probability per token.

    Options:
        None.
    """
    if not case.expected_texts():
        return Score.unscored("the case has no expected answer")
    value = completion.answer_logprob
    if value is None:
        return Score.unscored("the completion has no log-probability of the expected answer")
    if value > ROUNDING:
        return Score.unscored(f"{value} is not a log-probability: they are 0 or less")
    return Score.of(max(value, FLOOR), "floored at -50" if value < FLOOR else None)
