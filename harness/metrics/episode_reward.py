"""The reward of an episode."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="reward of an episode", episodes=True)
def episode_reward(case: Case, completion: Completion, *, stat: str = "") -> Score:
    """Score the reward that the environment returned.

    Known problems:
        Write `range = [0, 1]` on the metric if the reward has one; otherwise no gate holds while an
        episode is unscored.

    Example:
        With 0.3 for finding the order and 0.7 for the refund, an episode that only finds it scores
        0.3.

    Options:
        stat: Name of a number in the episode's record (`_stats`, or another Inspect score) to
            use instead.
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
