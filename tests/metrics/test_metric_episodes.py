"""The metrics of episodes, by hand and by enumeration."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from tunegate.harness.metrics.episode_pass import episode_pass, pass_hat_k
from tunegate.harness.metrics.episode_reward import episode_reward
from tunegate.harness.metrics.episode_turns import episode_turns
from tunegate.harness.metrics.episode_unfinished import episode_unfinished
from tunegate.harness.metrics.tool_errors import tool_errors
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeCall, EpisodeEnd, EpisodeRecord, EpisodeTurn

TASK = Case(id="t", prompt="?")


def episode(
    *faults: bool, reward: float = 1.0, end: EpisodeEnd = EpisodeEnd.ANSWERED, problem: str = ""
) -> Completion:
    """Return an episode with a turn a call, failed or not, and a last turn."""
    turns = [
        EpisodeTurn(
            prompt_sha256="",
            text="x",
            calls=(EpisodeCall(name="f", arguments={}, result="r", error=fault),),
        )
        for fault in faults
    ]
    last = EpisodeTurn(prompt_sha256="", text="done", problem=problem or None)
    return Completion(
        text="done", episode=EpisodeRecord(turns=(*turns, last), reward=reward, end=end)
    )


def test_pass_hat_k_is_the_share_of_the_sets_of_k_that_all_pass() -> None:
    for n in range(1, 6):
        for values in product((0.0, 1.0), repeat=n):
            for k in range(1, n + 1):
                sets = list(combinations(values, k))
                share = sum(all(one) for one in sets) / len(sets)
                assert pass_hat_k(values, k) == pytest.approx(share, abs=1e-12)


def test_pass_hat_2_of_three_in_four() -> None:
    """C(3, 2) / C(4, 2) = 3 / 6."""
    assert pass_hat_k([1.0, 1.0, 0.0, 1.0], 2) == 0.5


@pytest.mark.parametrize(("reward", "threshold", "value"), [(1, 1, 1), (0.9, 1, 0), (0.9, 0.5, 1)])
def test_a_pass_is_a_reward_at_the_threshold(reward: float, threshold: float, value: float) -> None:
    assert episode_pass(TASK, episode(reward=reward), threshold=threshold).value == value


def test_rewards_turns_and_ends_are_read_off() -> None:
    """Two calls and an answer are three turns; a limit is unfinished."""
    done = episode(False, True, reward=0.25, end=EpisodeEnd.LIMIT)

    assert episode_reward(TASK, done).value == 0.25
    assert episode_turns(TASK, done).value == 3
    assert episode_turns(TASK, done).parts == {"calls": 2.0}
    assert episode_unfinished(TASK, done).value == 1
    assert episode_unfinished(TASK, episode()).value == 0


def test_tool_errors_are_a_share_of_the_calls() -> None:
    """One of two failed; an unreadable call counts as failed; without calls the share is 0."""
    assert tool_errors(TASK, episode(False, True)).value == 0.5
    assert tool_errors(TASK, episode(False, True, problem="broken")).value == pytest.approx(2 / 3)
    assert tool_errors(TASK, episode()).value == 0.0
