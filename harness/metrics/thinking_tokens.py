"""How many tokens the model thinks before it answers."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.contracts.reasoning import answer_tokens
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="tokens of thinking", higher_is_better=False)
def thinking_tokens(case: Case, completion: Completion) -> Score:
    """Score the tokens of the thoughts; fewer count as better, and none are 0.

    Counted by the backend, tags included. The part `answer` has the tokens of the answer.

    Known problems:
        Where thoughts may become too short, give the gate a `floor`, and gate `thinking_valid`.

    Example:
        180 tokens from `<think>` to `</think>` score 180; an answer without thoughts scores 0.
    """
    if not completion.thinks:
        return Score.of(0.0)
    if completion.reasoning_tokens is None:
        return Score.unscored("the backend counts no tokens of the thoughts")
    answer = answer_tokens(completion)
    parts = None if answer is None else {"answer": float(answer)}
    return Score.of(float(completion.reasoning_tokens), parts=parts)
