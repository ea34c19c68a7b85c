"""truncated: whether the token limit ended the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics.truncated import truncated
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CASE = Case(id="c", prompt="p")


def score(reason: str | None) -> Score:
    """Score a completion that ended for this reason."""
    return truncated.score(CASE, Completion(text="x", finish_reason=reason))


def test_only_length_is_truncation() -> None:
    """`length` is 1, `stop` is 0, and so is the call of a tool, which ends an answer normally."""
    assert score("length") == Score(value=1.0)
    for reason in ("stop", "tool_calls", "function_call"):
        assert score(reason) == Score(value=0.0)


@pytest.mark.parametrize("reason", [None, "", "content_filter", "LENGTH", "\ud800"])
def test_other_reasons_are_unscored(reason: str | None) -> None:
    result = score(reason)

    assert result.value is None
    assert result.reason


def test_declares_what_the_statistics_need() -> None:
    """It lies between 0 and 1, and less is better."""
    assert truncated.needs is CellKind.GENERATE
    assert truncated.range == (0.0, 1.0)
    assert not truncated.higher_is_better


@given(st.text(st.characters(exclude_categories=())))
def test_any_reason_is_scored_or_explained(reason: str) -> None:
    assert (score(reason).value is None) == (
        reason not in ("length", "stop", "tool_calls", "function_call")
    )
