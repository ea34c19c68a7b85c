"""How many turns an episode took."""

from __future__ import annotations

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, Completion, Score


@metric(label="turns of an episode", higher_is_better=False, episodes=True)
def episode_turns(case: Case, completion: Completion) -> Score:
    """Score the number of the model's turns; fewer count as better.

    What it does:
        Counts the turns that the model wrote, the last one included. The part `calls` is the number
        of calls that were run.

    Why:
        Each turn is a request with the whole conversation in it: an agent that needs twice the
        turns costs more than twice as much, and keeps people waiting.

    Known problems:
        Fewer turns are no merit of an agent that gives up early: gate it together with
        `episode_pass`.

    Example:
        Find, refund and a last sentence are three turns.

    Options:
        None.
    """
    if completion.episode is None:
        return Score.unscored("the completion is not an episode")
    calls = len(completion.episode.calls)
    return Score.of(len(completion.episode.turns), parts={"calls": float(calls)})
