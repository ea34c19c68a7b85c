"""How well the answer uses the tools it was offered."""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.contracts.judge import (
    Steps,
    format_conversation,
    format_json,
    judge,
)
from tunegate.harness.contracts.judge_examples import ExampleForm
from tunegate.harness.judges._aspects import VALUES, ask_aspects
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
ASPECTS = ("needed", "choice", "complete", "grounded", "restraint", "asking")
"""Parts of the score: the questions of the prompt, each of which asks for one thing."""


@judge(
    range=(0.0, 1.0),
    requires=("tools",),
    examples=ExampleForm(
        {"prompt": "A conversation", "completion": "Its answer", "question": "The question"},
        tuple(VALUES),
        {"question": ASPECTS},
    ),
)
def tool_use(case: Case, completion: Completion) -> Steps:
    """Score the share of six questions that say the answer used its tools well.

    What it does:
        Asks each by itself: was every needed tool called, the one that fits, with all arguments,
        none of them invented, nothing needless, and was asked back where something is missing?
        `parts` has each. An empty answer is 0, without asking.

    Why:
        `tool_calls` compares with expected calls; where several calls would do, or asking back is
        right, there is no single expected one.

    Known problems:
        A judge reads arguments less exactly than a rule does: where there are expected calls, gate
        on `tool_calls`.

    Example:
        One date invented, all else right: 0.833.

    Options:
        None.
    """
    text = (completion.text or "").strip()
    if not text:
        return Score.of(0.0, "the answer is empty")
    data = {
        "tools": format_json(list(case.tools or ())),
        "prompt": format_conversation(case),
        "completion": text,
    }
    return (yield from ask_aspects(PROMPT, ASPECTS, data))
