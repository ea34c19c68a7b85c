"""Whether the answer has the wanted tone."""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.contracts.judge import Steps, ask_verdict, format_conversation, judge
from tunegate.harness.contracts.judge_examples import ExampleForm
from tunegate.harness.judges._checks import refuse_empty
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
_VALUES = {"fits": 1.0, "partly": 0.5, "misses": 0.0}


@judge(
    range=(0.0, 1.0),
    check=refuse_empty("tone", "describe it in words, or leave it out"),
    examples=ExampleForm({"completion": "An answer"}, tuple(_VALUES)),
)
def tone(
    case: Case,
    completion: Completion,
    *,
    tone: str = "polite, calm and professional",
) -> Steps:
    """Score 1 if the answer has the wanted tone, 0.5 if in part, 0 if not.

    What it does:
        Asks once, about the tone only. An empty answer has no tone and is unscored.

    Why:
        A fine-tune on curt data answers curtly, which no metric of content sees.

    Known problems:
        Judge models like warm and long answers: look at the length as well.

    Example:
        `tone = "plain and friendly, no exclamation marks"`.

    Options:
        tone: The wanted tone, in words.
    """
    text = (completion.text or "").strip()
    if not text:
        return Score.unscored("abstention: the answer is empty")
    data = {"prompt": format_conversation(case), "completion": text}
    return (yield from ask_verdict(PROMPT, _VALUES, data=data, author_text={"tone": tone}))
