"""Whether the answer has the wanted tone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.judge import (
    Steps,
    ask_verdict,
    format_conversation,
    format_shots,
    judge,
    shot_problems,
)
from tunegate.harness.records.cases import Case, Completion, Score

PROMPT = Path(__file__).with_suffix(".txt")
_VALUES = {"fits": 1.0, "partly": 0.5, "misses": 0.0}


def check_tone(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return what is wrong with tone and examples."""
    given = options.get("tone", "x")
    empty = [] if given.strip() else ["tone is empty; describe it in words, or leave it out"]
    return empty + shot_problems(options.get("examples", ()), tuple(_VALUES))


@judge(range=(0.0, 1.0), check=check_tone)
def tone(
    case: Case,
    completion: Completion,
    *,
    tone: str = "polite, calm and professional",
    examples: tuple[dict[str, Any], ...] = (),
) -> Steps:
    """Score 1 if the answer has the wanted tone, 0.5 if in part, 0 if not.

    What it does:
        Asks once, for the tone alone. An empty answer has no tone and is unscored.

    Why:
        A fine-tune on curt data answers curtly; no metric of content sees it.

    Known problems:
        Judges like warm and long answers: look at the length as well.

    Example:
        `tone = "plain and friendly, no exclamation marks"`.

    Options:
        tone: The wanted tone, in words.
        examples: Tables with `completion`, `verdict` (`fits`, `partly`, `misses`) and, if wanted,
            `reason`.
    """
    text = (completion.text or "").strip()
    if not text:
        return Score.unscored("abstention: the answer is empty")
    data = {"prompt": format_conversation(case), "completion": text}
    told = {"tone": tone, "examples": format_shots(examples)}
    return (yield from ask_verdict(PROMPT, _VALUES, data=data, told=told))
