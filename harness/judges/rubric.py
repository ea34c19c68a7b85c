"""How far the answer meets criteria in plain words, on a scale with words for its steps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.judge import (
    TEXT,
    JudgeQuestion,
    Steps,
    format_conversation,
    format_json,
    judge,
    question,
)
from tunegate.harness.contracts.judge_prompt import prompt_sections, template_placeholders
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

PROMPT = Path(__file__).with_suffix(".txt")
_KNOWN = ("criterion", "scale", "examples", "prompt", "completion", "expected", "context")
_EXAMPLE_KEYS = ("completion", "score", "reason", "criterion")


def check_rubric(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return what is wrong with criteria, scale, examples and prompt, and with them together."""
    problems = [] if all(_criteria(options["criteria"])) else ["criteria: one of them is empty"]
    if not _criteria(options["criteria"]):
        problems.append("criteria is empty; describe a good answer")
    steps = _steps(options.get("scale", 5))
    numbers = list(steps)
    if not 2 <= len(numbers) <= 10 or numbers != list(range(1, len(numbers) + 1)):
        problems.append(
            f"scale={options.get('scale')!r}: write the number of steps, 2 to 10, or a table of "
            'what each means, from 1 on: {1 = "wrong", 2 = "right"}'
        )
    for number, example in enumerate(options.get("examples", ()), start=1):
        problems += _example_problems(number, example, numbers)
    return problems + _prompt_problems(options.get("prompt"), cases)


@judge(range=(0.0, 1.0), check=check_rubric)
def rubric(
    case: Case,
    completion: Completion,
    *,
    criteria: str | tuple[str, ...],
    scale: int | dict[str, str] = 5,
    examples: tuple[dict[str, Any], ...] = (),
    prompt: Path | None = None,
) -> Steps:
    """Score how far the answer meets each criterion, averaged over the criteria.

    What it does:
        Asks about each criterion separately, on the same scale; step s of n is the score
        (s - 1) / (n - 1). `parts` has a value for each criterion. An empty answer gets the lowest
        step without asking.

    Why:
        One question per criterion keeps a good impression in one from raising the others.

    Known problems:
        A model's scale is not a person's: calibrate it before you gate on it.

    Example:
        `criteria = "Apologises once and names the next step"` with `scale = 2`: 1 or 0.

    Options:
        criteria: What a good answer does, in words; an array for several criteria.
        scale: Number of steps, or a table of what each means (`{1 = "rude", 2 = "civil"}`).
        examples: Tables with `completion`, `score`, and if wanted `reason` and `criterion`.
        prompt: A prompt file of your own with `{completion}` and, if wanted, `{prompt}`,
            `{criterion}`, `{scale}`, `{examples}`, `{context}` and `{expected}`.
    """
    steps = _steps(scale)
    if not (completion.text or "").strip():
        return Score.of(0.0, "the answer is empty")
    questions = [
        _question(
            case, completion, criterion, steps, _format_examples(examples, criterion, steps), prompt
        )
        for criterion in _criteria(criteria)
    ]
    replies = yield questions
    values = {str(step): (step - 1) / (len(steps) - 1) for step in steps}
    scores = [reply.expected(values) for reply in replies]
    reasons = [reason for reply in replies if (reason := reply.said("reason"))]
    parts = dict(zip(map(_short, _criteria(criteria)), scores, strict=False))
    return Score.of(
        sum(scores) / len(scores),
        " / ".join(reasons) or None,
        parts=parts if len(scores) > 1 else None,
    )


def _question(
    case: Case,
    completion: Completion,
    criterion: str,
    steps: Mapping[int, str],
    examples: str,
    prompt: Path | None,
) -> JudgeQuestion:
    data = {
        "context": case.context or "",
        "prompt": format_conversation(case),
        "expected": "\n".join(case.expected_texts()),
        "completion": completion.text or "",
    }
    return question(
        prompt or PROMPT,
        "verdict",
        data=data,
        author_text={"criterion": criterion, "scale": _scale_text(steps), "examples": examples},
        fields={"reason": TEXT, "score": {"enum": list(steps)}},
        choice="score",
    )


def _criteria(criteria: str | Sequence[str]) -> tuple[str, ...]:
    given = (criteria,) if isinstance(criteria, str) else tuple(criteria)
    return tuple(one.strip() for one in given)


def _steps(scale: int | Mapping[str, str]) -> dict[int, str]:
    """Return step → meaning; an invalid scale has no steps 1 to n."""
    if isinstance(scale, int):
        return dict.fromkeys(range(1, min(scale, 11) + 1), "")
    return {int(step) if step.isdecimal() else 0: text for step, text in scale.items()}


def _scale_text(steps: Mapping[int, str]) -> str:
    if any(steps.values()):
        return "\n".join(f"{step}: {text}" for step, text in steps.items())
    return f"1 (does not meet the criterion at all) to {len(steps)} (meets it completely)"


def _format_examples(
    examples: Sequence[Mapping[str, Any]], criterion: str, steps: Mapping[int, str]
) -> str:
    shown = [e for e in examples if e.get("criterion", criterion) == criterion]
    if not shown:
        return ""
    lines = [
        f"An answer: {format_json(e['completion'])}\nIts score: {e['score']}"
        + (f", because {e['reason']}" if e.get("reason") else "")
        for e in shown
    ]
    return "\nExamples of the scale:\n" + "\n\n".join(lines) + "\n"


def _example_problems(number: int, example: Mapping[str, Any], steps: Sequence[int]) -> list[str]:
    place = f"examples, number {number}"
    if {"completion", "score"} - set(example) or set(example) - set(_EXAMPLE_KEYS):
        return [f"{place}: keys {', '.join(example)}; allowed are {', '.join(_EXAMPLE_KEYS)}; "
                "completion and score are required"]  # fmt: skip
    if example["score"] not in steps:
        return [f"{place}: score={example['score']!r} is not a step of the scale"]
    return []


def _prompt_problems(prompt: Path | None, cases: Sequence[Case]) -> list[str]:
    if prompt is None:
        return []
    try:
        sections = prompt_sections(prompt)
    except UnicodeDecodeError as error:
        return [f"{prompt}: not UTF-8 at byte {error.start}"]
    if list(sections) != ["verdict"]:
        return [f"{prompt}: its only section may be '--- verdict ---', not {', '.join(sections)}"]
    used = template_placeholders(sections["verdict"])
    if "completion" not in used:
        return [f"{prompt}: it never shows the answer; put {{completion}} where it belongs"]
    unknown = sorted(used - set(_KNOWN))
    return [f"{prompt}: unknown placeholder {{{name}}}; there are: {', '.join(_KNOWN)}"
            for name in unknown] + [
        f"{prompt}: {{{name}}} is empty in case {case.id!r}"
        for name in ("context", "expected")
        if name in used
        for case in [c for c in cases if not getattr(c, name)][:1]
    ]  # fmt: skip


def _short(criterion: str) -> str:
    """Return a name for a criterion's part: its first words."""
    return " ".join(re.split(r"\s+", criterion)[:6])
