"""Metric answer_given: whether anything follows the thoughts."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.metrics.answer_given import answer_given
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case


@pytest.mark.parametrize(
    ("fields", "value", "reason"),
    [
        ({"text": "."}, 1, None),
        ({"text": "Oslo", "reasoning": "Hm", "reasoning_closed": True}, 1, None),
        ({"text": " \n"}, 0, "the answer is empty"),
        (
            {"text": "", "reasoning": "Hm", "reasoning_closed": False, "reasoning_tokens": 64},
            0,
            "no answer: the thoughts had not ended after 64 tokens",
        ),
        ({}, None, "the completion has no text"),
    ],
)
def test_answers(fields: dict[str, Any], value: float | None, reason: str | None) -> None:
    """Any text is an answer; the reason says why there is no text."""
    score = answer_given(Case(id="a", prompt="?"), Completion(**fields))

    assert (score.value, score.reason) == (value, reason)
