"""votes.jsonl: the ballots of a run, one line each, with the votes that people cast.

A ballot is a case drawn at random, with the side on which each arm's answer is shown. Both follow
from the run's id, so that another draw gives the same ballots.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Literal

from pydantic import Field

from tunegate.harness.records.record import Record, Text
from tunegate.harness.records.scores import ScoreRow

VOTES_FILE = "votes.jsonl"
"""Name of the file in a run folder."""
Choice = Literal["left", "tie", "right"]


class Ballot(Record):
    """One drawn case and its votes."""

    suite: Text
    metric: Text
    id: Text
    """Id of the case."""
    left: Literal["base", "tuned"] | None = None
    """The arm whose answer is on the left; None if both answers are the same, which is a tie."""
    reviewers: int = Field(ge=1)
    """Reviewers who must vote before the votes count."""
    votes: dict[Text, Choice] = Field(default_factory=dict)
    """Reviewer → the better answer."""

    @property
    def complete(self) -> bool:
        """Whether all its votes are in."""
        return self.left is None or len(self.votes) >= self.reviewers

    @property
    def advantages(self) -> tuple[float, ...]:
        """What each vote says: 1 tuned is better, -1 base is, 0 a tie."""
        if self.left is None:
            return (0.0,)
        of_left = 1.0 if self.left == "tuned" else -1.0
        worth = {"left": of_left, "tie": 0.0, "right": -of_left}
        return tuple(worth[choice] for choice in self.votes.values())


def votings(ballots: Iterable[Ballot]) -> dict[tuple[str, str], tuple[Ballot, ...]]:
    """Return (suite, metric) → its ballots."""

    def voting(ballot: Ballot) -> tuple[str, str]:
        return ballot.suite, ballot.metric

    return {key: tuple(group) for key, group in groupby(sorted(ballots, key=voting), voting)}


def vote_scores(ballots: Iterable[Ballot]) -> list[ScoreRow]:
    """Return the scores of every voting whose votes are all in.

    A case's advantage d is the mean of its votes, and the arms score (1 - d) / 2 and (1 + d) / 2: a
    tie counts half for each.
    """
    return [
        ScoreRow(suite=suite, metric=metric, case=ballot.id, arm=arm, value=(1 + sign * d) / 2)
        for (suite, metric), drawn in votings(ballots).items()
        if all(ballot.complete for ballot in drawn)
        for ballot in drawn
        for d in [sum(ballot.advantages) / len(ballot.advantages)]
        for arm, sign in (("base", -1), ("tuned", 1))
    ]
