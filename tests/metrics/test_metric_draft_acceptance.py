"""draft_acceptance: the share of drafted tokens that were accepted."""

from __future__ import annotations

import pytest

from tunegate.harness.metrics.draft_acceptance import draft_acceptance
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CASE = Case(id="c", prompt="p")


@pytest.mark.parametrize(
    ("drafted", "accepted", "share"), [(20, 14, 0.7), (3, 3, 1.0), (8, 0, 0.0)]
)
def test_it_is_accepted_of_drafted(drafted: int, accepted: int, share: float) -> None:
    done = Completion(text="x", drafted_tokens=drafted, accepted_tokens=accepted)

    parts = {"drafted": float(drafted), "accepted": float(accepted)}
    assert draft_acceptance(CASE, done) == Score(value=share, parts=parts)


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ({}, "the completion has no counts of drafted tokens"),
        ({"drafted_tokens": 4}, "the completion has no counts of drafted tokens"),
        ({"drafted_tokens": 0, "accepted_tokens": 0}, "no tokens were drafted"),
        (
            {"drafted_tokens": 4, "accepted_tokens": 5},
            "5 tokens were accepted of 4 that were drafted",
        ),
    ],
)
def test_without_drafts_it_is_unscored(counts: dict[str, int], why: str) -> None:
    """Never a zero: nothing was rejected."""
    assert draft_acceptance(CASE, Completion(text="x", **counts)) == Score.unscored(why)
