"""Whether a task was done, by the transcript of an episode or the answer."""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.contracts.judge import (
    Steps,
    ask_verdict,
    format_conversation,
    format_transcript,
    judge,
)
from tunegate.harness.contracts.judge_examples import ExampleForm
from tunegate.harness.judges._checks import refuse_empty
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
_VALUES = {"done": 1.0, "partly": 0.5, "not_done": 0.0}


@judge(
    range=(0.0, 1.0),
    check=refuse_empty("goal", "leave it out, or write it"),
    examples=ExampleForm({"completion": "An answer"}, tuple(_VALUES)),
)
def task_completion(
    case: Case,
    completion: Completion,
    *,
    goal: str = "What the request asks for has been achieved, not only promised.",
) -> Steps:
    """Score 1 if the task was done, 0.5 if in part, 0 if not.

    What it does:
        Shows the request and the transcript: each turn with its calls and their results, or just
        the answer without an episode. The expected answer is shown too, if the case has one. An
        empty answer without a call is 0, without asking.

    Why:
        An environment's reward is better, but many tasks have none.

    Known problems:
        Models claim to have done what they did not, so the prompt asks for evidence in the results.
        Judge models overlook steps in long transcripts.

    Example:
        The refund was requested and the result confirms it: 1. It was only announced: 0.

    Options:
        goal: What counts as done, in words.
    """
    shown = format_transcript(completion).strip()
    if not shown:
        return Score.of(0.0, "the answer is empty")
    data = {
        "prompt": format_conversation(case),
        "expected": "\n".join(case.expected_texts()) or "(nothing is given)",
        "transcript": shown,
    }
    return (yield from ask_verdict(PROMPT, _VALUES, data=data, author_text={"goal": goal}))
