"""How well an episode was conducted: its steps, whatever came of them."""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.contracts.judge import Steps, format_conversation, format_transcript, judge
from tunegate.harness.contracts.judge_examples import ExampleForm
from tunegate.harness.judges._aspects import VALUES, ask_aspects
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
ASPECTS = ("progress", "grounded", "recovery", "economy", "ending")
"""Questions of the prompt, which are the parts of the score."""


@judge(
    range=(0.0, 1.0),
    examples=ExampleForm(
        {"prompt": "A task", "transcript": "The transcript", "question": "The question"},
        tuple(VALUES),
        {"question": ASPECTS},
    ),
)
def trajectory(case: Case, completion: Completion) -> Steps:
    """Score the share of five questions that say an episode was conducted well.

    What it does:
        Asks five questions about the transcript: did every call bring the task forward, were
        arguments taken from what was known, was an error met by another attempt, was nothing done
        twice, did it end when it was done? `parts` has each answer. A completion without an episode
        is unscored.

    Why:
        Two models may reach the same goal, one of them by guessing, which fails on the next task.

    Known problems:
        Good trajectories differ: use a wide tolerance, next to `task_completion` or the
        environment's reward.

    Example:
        One call made twice, all else right: 0.8.

    Options:
        None.
    """
    if completion.episode is None:
        return Score.unscored("abstention: the completion is not an episode")
    data = {"prompt": format_conversation(case), "transcript": format_transcript(completion)}
    return (yield from ask_aspects(PROMPT, ASPECTS, data))
