"""How many turns an episode took."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="turns of an episode", higher_is_better=False, episodes=True)
def episode_turns(case: Case, completion: Completion) -> Score:
    """Score the number of the model's turns; fewer count as better.

    The part `calls` is the number of calls that were run.

    Known problems:
        An agent that gives up early has few turns: gate `episode_pass` as well.

    Example:
        Find, refund and a last sentence are three turns.
    """
    if completion.episode is None:
        return Score.unscored("the completion is not an episode")
    calls = len(completion.episode.calls)
    return Score.of(len(completion.episode.turns), parts={"calls": float(calls)})
