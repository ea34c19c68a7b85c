"""Whether the token limit cut the answer off."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

_ENDED = ("stop", "tool_calls", "function_call")
"""Finish reasons of an answer that the model ended, with a text or with the call of a tool."""


@metric(label="answers cut at the limit", higher_is_better=False, binary=True)
def truncated(case: Case, completion: Completion) -> Score:
    """Score 1 if the token limit ended the answer, 0 if the model did.

    Finish reason `length` scores 1; `stop` and `tool_calls` score 0; others are unscored.

    Known problems:
        A limit that is too low cuts good answers of both arms.

    Example:
        A gate with `ceiling = 0.02` lets 2 % of the answers be cut off.
    """
    reason = completion.finish_reason
    if reason is None:
        return Score.unscored("the backend gave no finish reason")
    if reason != "length" and reason not in _ENDED:
        return Score.unscored(f"finish_reason={reason!r} is neither 'stop' nor 'length'")
    return Score.of(float(reason == "length"))
