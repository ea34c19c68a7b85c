"""tokens: what the backend counted."""

from __future__ import annotations

from typing import Literal

import pytest

from tunegate.harness.metrics.tokens import tokens
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CASE = Case(id="c", prompt="p")


@pytest.mark.parametrize(("count", "value"), [("total", 120.0), ("input", 96.0), ("output", 24.0)])
def test_counts_what_is_asked(count: Literal["total", "input", "output"], value: float) -> None:
    """96 in and 24 out are 120; the parts tell them apart whatever is asked."""
    result = tokens(CASE, Completion(text="x", input_tokens=96, output_tokens=24), count=count)

    assert result == Score(value=value, parts={"input": 96.0, "output": 24.0})


def test_an_empty_answer_has_no_tokens() -> None:
    """A count of 0 is a count."""
    assert tokens(CASE, Completion(input_tokens=3, output_tokens=0)).value == 3.0
    assert tokens(CASE, Completion(output_tokens=0), count="output").value == 0.0


def test_an_unknown_count_is_unscored() -> None:
    """Half of a sum is not a sum; the reason names the missing half."""
    one = tokens(CASE, Completion(text="x", input_tokens=3))
    both = tokens(CASE, Completion(text="x"))

    assert (one.value, one.reason) == (None, "the completion has no count of its output tokens")
    assert both.reason == "the completion has no count of its input and output tokens"
