"""Metric thinking_tokens: the tokens of the thoughts."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.metrics.thinking_tokens import thinking_tokens
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case


@pytest.mark.parametrize(
    ("fields", "value", "parts"),
    [
        ({"reasoning": "a", "reasoning_tokens": 20, "output_tokens": 32}, 20, {"answer": 12}),
        ({"reasoning": "a", "reasoning_tokens": 20}, 20, None),
        ({"reasoning_tokens": 512, "output_tokens": 512}, 512, {"answer": 0}),
        ({"output_tokens": 32}, 0, None),
        ({"reasoning": "a"}, None, None),
    ],
)
def test_tokens(fields: dict[str, Any], value: float | None, parts: Any) -> None:
    """The backend's count, hidden thoughts included; 0 without thoughts; unscored if uncounted."""
    score = thinking_tokens(Case(id="a", prompt="?"), Completion(text="", **fields))

    assert (score.value, score.parts) == (value, parts)
