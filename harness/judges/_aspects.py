"""Judging by aspects: one yes-or-no question each, and the share of yes as the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tunegate.harness.contracts.judge import TEXT, Steps, question
from tunegate.harness.records.scores import Score

VALUES = {"yes": 1.0, "no": 0.0}


def ask_aspects(prompt: Path, aspects: Sequence[str], data: Mapping[str, str]) -> Steps:
    """Ask each question that the prompt lists; `parts` has every answer."""
    template = question(
        prompt,
        "verdict",
        data=data,
        fields={"reason": TEXT, "verdict": {"enum": list(VALUES)}},
        choice="verdict",
    )
    replies = yield [replace(template, ask=f"Question: {aspect}.") for aspect in aspects]
    values = [reply.expected(VALUES) for reply in replies]
    wrong = [r.said("reason") or r.verdict for r in replies if r.verdict == "no"]
    return Score.of(
        sum(values) / len(values),
        "; ".join(wrong) or None,
        parts=dict(zip(aspects, values, strict=True)),
    )
