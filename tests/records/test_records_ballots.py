"""Ballots: what each vote is worth, and when the votes count."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tunegate.harness.records.ballots import Ballot, vote_scores


def ballot(case: str, left: str | None, *votes: str, reviewers: int = 1, **more: Any) -> Ballot:
    """Return a ballot with votes of A, B, C …"""
    names = "ABCDEFG"[: len(votes)]
    fields = {"suite": "s", "metric": "preferred", "id": case, "reviewers": reviewers, **more}
    return Ballot.model_validate(
        {**fields, "left": left, "votes": dict(zip(names, votes, strict=True))}
    )


def scores(*ballots: Ballot) -> dict[tuple[str, str], float | None]:
    return {(row.case, row.arm): row.value for row in vote_scores(ballots)}


@pytest.mark.parametrize(
    ("left", "vote", "base", "tuned"),
    [
        ("tuned", "left", 0, 1), ("tuned", "right", 1, 0), ("tuned", "tie", 0.5, 0.5),
        ("base", "left", 1, 0), ("base", "right", 0, 1), ("base", "tie", 0.5, 0.5),
    ],
)  # fmt: skip
def test_a_vote_is_for_the_arm_on_its_side(left: str, vote: str, base: float, tuned: float) -> None:
    assert scores(ballot("a", left, vote)) == {("a", "base"): base, ("a", "tuned"): tuned}


def test_equal_answers_are_a_tie_without_a_vote() -> None:
    assert scores(ballot("a", None, reviewers=2)) == {("a", "base"): 0.5, ("a", "tuned"): 0.5}


def test_a_case_counts_with_the_mean_of_its_votes() -> None:
    """Tuned, tie, tuned: an advantage of 2/3."""
    found = scores(ballot("a", "tuned", "left", "tie", "left", reviewers=3))

    assert found == {("a", "base"): pytest.approx(1 / 6), ("a", "tuned"): pytest.approx(5 / 6)}


def test_nothing_counts_before_all_votes_of_a_metric_are_in() -> None:
    """Another metric's votes do not wait."""
    mine = [
        ballot("a", "base", "left", "left", reviewers=2),
        ballot("b", "base", "left", reviewers=2),
    ]
    other = ballot("a", "base", "left", metric="helpful")

    rows = vote_scores([*mine, other])
    assert {(row.metric, row.case) for row in rows} == {("helpful", "a")}


@pytest.mark.parametrize("wrong", [{"left": "shipped"}, {"votes": {"A": "both"}}, {"reviewers": 0}])
def test_other_values_are_refused(wrong: dict[str, Any]) -> None:
    fields = {"suite": "s", "metric": "m", "id": "a", "reviewers": 1} | wrong
    with pytest.raises(ValidationError):
        Ballot.model_validate(fields)
