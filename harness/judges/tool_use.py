"""How well the answer uses the tools it was offered."""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.judge import TEXT, Steps, format_conversation, format_json, judge, question
from tunegate.harness.records.cases import Case, Completion, Score

PROMPT = Path(__file__).with_suffix(".txt")
ASPECTS = {
    "choice": "does it call the tools that the request needs, or none where none is needed?",
    "arguments": "do all arguments follow from the conversation, none missing, invented or wrong?",
    "restraint": "does it do no more than was asked, and ask back where something is missing?",
}
"""Part of the score → what is asked."""
_VALUES = {"yes": 1.0, "no": 0.0}


@judge(range=(0.0, 1.0), requires=("tools",))
def tool_use(case: Case, completion: Completion) -> Steps:
    """Score the share of three aspects in which the answer used its tools well.

    What it does:
        Asks by itself whether the right tools were called, whether their arguments follow from the
        conversation, and whether nothing needless was done. `parts` has each aspect. An empty
        answer is 0, without asking.

    Why:
        `tool_calls` compares with expected calls; where several calls would do, or asking back is
        right, there is no single expected one.

    Known problems:
        A judge reads arguments less exactly than a rule does: where there are expected calls, gate
        on `tool_calls`.

    Example:
        Right tool, an invented date, nothing needless: 0.667.

    Options:
        None.
    """
    text = (completion.text or "").strip()
    if not text:
        return Score.of(0.0, "the answer is empty")
    data = {"tools": format_json(list(case.tools or ())), "prompt": format_conversation(case),
            "completion": text}  # fmt: skip
    replies = yield [
        question(
            PROMPT,
            "verdict",
            data=data,
            told={"aspect": aspect},
            fields={"reason": TEXT, "verdict": {"enum": list(_VALUES)}},
            choice="verdict",
        )
        for aspect in ASPECTS.values()
    ]
    values = [reply.expected(_VALUES) for reply in replies]
    wrong = [r.said("reason") or r.verdict for r in replies if r.verdict == "no"]
    return Score.of(
        sum(values) / len(values), "; ".join(wrong) or None,
        parts=dict(zip(ASPECTS, values, strict=True)),
    )  # fmt: skip
