"""The reward of an episode."""

from __future__ import annotations

from tunegate.harness.metric import metric
from tunegate.harness.records.cases import Case, Completion, Score


@metric(label="reward of an episode", episodes=True)
def episode_reward(case: Case, completion: Completion, *, stat: str = "") -> Score:
    """Score the reward that the environment returned.

    What it does:
        Takes what `get_reward` returned at the end of the episode, as it is. With `stat` it takes a
        number of `_stats`, or another score of an Inspect task.

    Why:
        It is what a training by reinforcement raises, so it shows whether the training worked at
        all; a pass or fail at a threshold may not move yet.

    Known problems:
        Its range is unknown unless the suite gives it: write `range = [0, 1]`, so that the worst
        case of an unscored episode is bounded. A shaped reward can rise while fewer tasks pass.

    Example:
        With 0.3 for finding the order and 0.7 for the refund, an episode that only finds it
        scores 0.3.

    Options:
        stat: Name of a number in the episode's record that is taken in place of the reward.
    """
    if completion.episode is None:
        return Score.unscored("the completion is not an episode")
    if not stat:
        return Score.of(completion.episode.reward)
    value = completion.episode.stats.get(stat)
    if isinstance(value, bool | int | float):
        return Score.of(float(value))
    there = ", ".join(completion.episode.stats) or "none"
    return Score.unscored(f"no number {stat!r} in the episode's record; there are: {there}")
