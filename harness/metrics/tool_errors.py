"""Which share of an episode's calls failed by the model's fault."""

from __future__ import annotations

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, Completion, Score


@metric(label="tool calls that fail", higher_is_better=False, range=(0.0, 1.0), episodes=True)
def tool_errors(case: Case, completion: Completion) -> Score:
    """Score the share of calls that failed by the model's own fault.

    What it does:
        Divides the failed calls by all calls: a tool that does not exist, arguments that do not
        fit, an order that is not there. A call that no program could read counts as failed. An
        episode without a call scores 0.

    Why:
        A model may reach its goal and still stumble over its tools; in production each failed call
        is paid for and may have half an effect.

    Known problems:
        A model that calls nothing makes no errors: gate it together with `episode_pass`. Failures
        of the environment itself are no errors of the model; their episodes are unscored.

    Example:
        Of four calls one names an order that does not exist: 0.25.

    Options:
        None.
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
