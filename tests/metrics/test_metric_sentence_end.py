"""sentence_end: an answer that ends, and one that breaks off."""

from __future__ import annotations

import pytest

from tunegate.harness.metrics.sentence_end import sentence_end
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

CASE = Case(id="c", prompt="?")


@pytest.mark.parametrize(
    "text",
    [
        "We will call you.", "Really?", "Done! ", "It is ready…", "今日は。", "क्या हाल है।",
        "هل هذا صحيح؟", 'He said "yes"', "(see below)", "**Note**", "```\nx = 1\n```",
        '{"a": 1}', "Thanks 🙂", "a > b >", "Two items:", "«Oui»", "“so”",
    ],
)  # fmt: skip
def test_a_finished_answer(text: str) -> None:
    """A mark of a sentence, a bracket, a quote, a sign of Markdown, an emoji."""
    assert sentence_end(CASE, Completion(text=text)).value == 1


@pytest.mark.parametrize(
    "text", ["", "  ", "We will call you on", "First,", "it costs 12", "今日", "and (", "half-"]
)
def test_an_answer_that_breaks_off(text: str) -> None:
    assert sentence_end(CASE, Completion(text=text)).value == 0
