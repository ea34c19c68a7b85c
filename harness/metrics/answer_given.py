"""Whether the model answered at all."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.contracts.reasoning import no_answer_reason
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="answers that say anything", binary=True)
def answer_given(case: Case, completion: Completion) -> Score:
    """Score 1 if there is an answer, 0 if the text is empty or the thoughts never end.

    Known problems:
        Any text counts, even a single dot.

    Example:
        `<think>One moment</think>Paris.` scores 1; `<think>One moment`, cut by the limit, scores 0.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if completion.text.strip():
        return Score.of(1.0)
    return Score.of(0.0, no_answer_reason(completion) or "the answer is empty")
