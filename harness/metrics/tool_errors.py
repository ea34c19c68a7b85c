"""Which share of an episode's calls failed by the model's fault."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="tool calls that fail", higher_is_better=False, range=(0.0, 1.0), episodes=True)
def tool_errors(case: Case, completion: Completion) -> Score:
    """Score the share of calls that failed by the model's own fault.

    Unknown tools, arguments that do not fit, and calls that no program could read. An episode
    without a call scores 0.

    Known problems:
        A model that calls nothing makes no errors: gate `episode_pass` as well.

    Example:
        One of four calls names an order that does not exist: 0.25.
    """
    record = completion.episode
    if record is None:
        return Score.unscored("the completion is not an episode")
    unreadable = sum(turn.problem is not None for turn in record.turns)
    failed = [call for call in record.calls if call.error]
    calls = len(record.calls) + unreadable
    problems = [turn.problem for turn in record.turns if turn.problem]
    reason = failed[0].result if failed else next(iter(problems), None)
    return Score.of((len(failed) + unreadable) / calls if calls else 0.0, reason)
