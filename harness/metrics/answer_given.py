"""Whether the model answered at all."""

from __future__ import annotations

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, Completion, Score
from tunegate.harness.thinking import no_answer_reason


@metric(label="answers that say anything", binary=True)
def answer_given(case: Case, completion: Completion) -> Score:
    """Score 1 if there is an answer, 0 if the text is empty or never comes after the thoughts.

    What it does:
        Looks whether anything but white space is left once the thoughts are set apart. The reason
        names whether the thoughts had ended.

    Why:
        A reasoning model that spends its tokens on thoughts answers nothing. Other metrics score
        that like a wrong answer; this one separates the two.

    Known problems:
        It does not read the answer: a single dot is one.

    Example:
        `<think>One moment</think>Paris.` scores 1; `<think>One moment`, cut by the token limit, 0.

    Options:
        None.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if completion.text.strip():
        return Score.of(1.0)
    return Score.of(0.0, no_answer_reason(completion) or "the answer is empty")
