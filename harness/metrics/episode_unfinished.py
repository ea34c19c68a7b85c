"""Whether an episode was cut off."""

from __future__ import annotations

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, Completion, Score
from tunegate.harness.records.episodes import EpisodeEnd


@metric(label="episodes without an ending", higher_is_better=False, binary=True, episodes=True)
def episode_unfinished(case: Case, completion: Completion) -> Score:
    """Score 1 if an episode did not end with an answer, else 0.

    What it does:
        Scores 1 where the limit of turns, of tokens or of the model's context ended the episode, or
        a call that no program could read.

    Why:
        A fine-tune that forgot how to stop calls its tools until something stops it; the reward may
        not show that, as it looks at the state that the calls left.

    Known problems:
        Limits that are too low cut off good episodes of both arms: look at how episodes ended on
        the page before the gate is set.

    Example:
        A gate with `ceiling = 0.05` allows 5 % of the episodes to be cut off.

    Options:
        None.
    """
    if completion.episode is None:
        return Score.unscored("the completion is not an episode")
    end = completion.episode.end
    return Score.of(float(end is not EpisodeEnd.ANSWERED), f"ended: {end}")
