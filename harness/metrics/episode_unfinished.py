"""Whether an episode was cut off."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeEnd
from tunegate.harness.records.scores import Score


@metric(label="episodes without an ending", higher_is_better=False, binary=True, episodes=True)
def episode_unfinished(case: Case, completion: Completion) -> Score:
    """Score 1 if an episode did not end with an answer, else 0.

    Ended by the limit of turns, tokens or context, or by a call that no program could read.

    Example:
        A gate with `ceiling = 0.05` lets 5 % of the episodes be cut off.
    """
    if completion.episode is None:
        return Score.unscored("the completion is not an episode")
    end = completion.episode.end
    return Score.of(float(end is not EpisodeEnd.ANSWERED), f"ended: {end}")
