"""How well the answer uses the tools it was offered."""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.contracts.judge import Steps, format_conversation, format_json, judge
from tunegate.harness.contracts.judge_examples import ExampleForm
from tunegate.harness.judges._aspects import VALUES, ask_aspects
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
ASPECTS = ("needed", "choice", "complete", "grounded", "restraint", "asking")
"""Questions of the prompt, which are the parts of the score."""


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
        Asks six questions: was every needed tool called, was it the right tool, with all arguments,
        none of them invented, was nothing needless called, and did the answer ask for what is
        missing? `parts` has each answer. An empty answer is 0, without asking.

    Why:
        `tool_calls` compares with expected calls, which does not work if several calls would do, or
        if the right answer is a question.

    Known problems:
        A judge reads arguments less exactly than a rule: with expected calls, gate on `tool_calls`.

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
