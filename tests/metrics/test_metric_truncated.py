"""truncated: whether the token limit ended the answer."""

from __future__ import annotations

import pytest

from tunegate.harness.metrics.truncated import truncated
from tunegate.harness.records.answers import Completion
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
