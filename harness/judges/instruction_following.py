"""Whether the answer does what its prompt asks, by a checklist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.judge import (
    TEXT,
    JudgeQuestion,
    ParsedReply,
    Steps,
    batch_fields,
    format_conversation,
    format_numbered,
    judge,
    question,
)
from tunegate.harness.contracts.judge_examples import ExampleForm
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
MOST_CHECKS = 20
_CHECK = {"type": "string", "minLength": 1, "maxLength": 500}
_KEPT = {"yes": 1.0, "no": 0.0}
_FIELDS = {"reason": TEXT, "verdict": {"enum": list(_KEPT)}}


def check_checklist(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return what is wrong with a checklist of the suite's own."""
    checklist = options.get("checklist", ())
    if len(checklist) > MOST_CHECKS:
        return [f"checklist has {len(checklist)} items; at most {MOST_CHECKS}"]
    if not all(map(str.strip, checklist)):
        return ["checklist: one of its items is empty"]
    return []


@judge(
    range=(0.0, 1.0),
    check=check_checklist,
    examples=ExampleForm({"completion": "An answer", "demand": "A demand"}, tuple(_KEPT)),
)
def instruction_following(
    case: Case,
    completion: Completion,
    *,
    checklist: tuple[str, ...] = (),
    batched: bool = False,
) -> Steps:
    """Score the share of the prompt's demands that the answer keeps.

    What it does:
        Derives a checklist from the prompt, without seeing an answer, and asks about each item
        separately. The checklist of a prompt is made once for all arms and candidates. An empty
        answer keeps nothing: 0, without asking.

    Why:
        Items written before the answer is read cannot be bent towards it, and both arms are held to
        the same ones (as in TICK and InFoBench).

    Known problems:
        A checklist can miss a demand, but misses it for both arms. `format` is better at what a
        rule can check (length, format, language).

    Example:
        Three of four items kept: 0.75.

    Options:
        checklist: Items of your own for every case, instead of derived ones.
        batched: Ask for all items in one call, which is cheaper; `tunegate judge calibrate`
            measures how well its verdicts agree with single calls.
    """
    text = (completion.text or "").strip()
    if not text:
        return Score.of(0.0, "the answer is empty")
    items: Sequence[str] = checklist
    if not items:
        (listed,) = yield [_list(case)]
        items = list(dict.fromkeys(listed.fields["checks"]))
    if not items:
        return Score.unscored("the prompt's checklist is empty")
    if batched:
        (answered,) = yield [_ask_all(case, text, items)]
        replies: Sequence[ParsedReply] = answered.each("verdict")
    else:
        replies = yield [_ask(case, text, item) for item in items]
    values = [reply.expected(_KEPT) for reply in replies]
    broken = [i for i, r in zip(items, replies, strict=True) if r.verdict == "no"]
    return Score.of(
        sum(values) / len(values),
        "; ".join(f"not kept: {item[:120]}" for item in broken) or None,
        parts={"checks": float(len(items))},
    )


def _list(case: Case) -> JudgeQuestion:
    return question(
        PROMPT,
        "checklist",
        data={"prompt": format_conversation(case)},
        fields={"checks": {"type": "array", "items": _CHECK, "maxItems": MOST_CHECKS}},
    )


def _ask(case: Case, text: str, item: str) -> JudgeQuestion:
    return question(
        PROMPT,
        "check",
        data={"prompt": format_conversation(case), "completion": text, "check": item},
        fields=_FIELDS,
        choice="verdict",
    )


def _ask_all(case: Case, text: str, items: Sequence[str]) -> JudgeQuestion:
    data = {"prompt": format_conversation(case), "completion": text,
            "checks": format_numbered(items)}  # fmt: skip
    asked = question(PROMPT, "checks", data=data, fields=batch_fields(_FIELDS))
    return replace(asked, verdicts=len(items))
