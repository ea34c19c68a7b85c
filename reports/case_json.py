"""A case's texts, cells and judgements as JSON for the page's script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.records.judgements import Judgement
from tunegate.reports.case_detail import (
    TextExcerpt,
    cells_in_order,
    compare_choices,
    completion_diff,
    expected_texts,
    further_completions,
    hidden_texts,
    question_texts,
    rendered_prompt,
    thoughts,
)
from tunegate.reports.case_view import CaseView
from tunegate.reports.text_diff import TextDiff

REASON = 600
"""Characters shown of a metric's or a judge's reason."""

LONGEST_LINE = 8_000
"""Characters of a case that the page can save as a line of a suite."""


def case_line(view: CaseView) -> str | None:
    """Return the case as a line of cases.jsonl; None of one that is too long for the page."""
    line = next(iter(record_lines([view.case]))).rstrip("\n")
    return line if len(line) <= LONGEST_LINE else None


def round_number(value: float | None) -> float | None:
    """Return six significant digits: what a page shows, in half the bytes."""
    return None if value is None else float(f"{value:.6g}")


def case_texts(view: CaseView) -> dict[str, Any]:
    """Return everything that a case's panel shows as text."""
    diff = completion_diff(view)
    return {
        "question": [*map(_text, question_texts(view))],
        "rendered": [*map(_text, rendered_prompt(view))],
        "expected": [*map(_text, expected_texts(view))],
        "code": view.is_code,
        "hidden": [*map(_text, hidden_texts(view))],
        "choices": [
            {"text": c.text, "right": c.right, "logprobs": [*map(round_number, c.logprobs)],
             "shares": [*map(round_number, c.shares)], "picked": c.picked}
            for c in compare_choices(view)
        ],
        "diff": [*_segments(diff)] if diff else None,
        "note": diff.note if diff else None,
        "lacks": [arm for arm in ("base", "tuned") if view.text(arm) is None],
        "others": [*map(_text, further_completions(view))],
        "thoughts": [*map(_text, thoughts(view))],
        "cells": [*map(_cell, cells_in_order(view))],
    }  # fmt: skip


def _text(item: TextExcerpt) -> list[Any]:
    return [item.label, item.text, item.missing] if item.missing else [item.label, item.text]


def _segments(diff: TextDiff) -> Iterator[Any]:
    """Yield a text both arms have, or base's and tuned's, with 1 if only the spaces differ."""
    for part in diff.segments:
        if not part.changed and part.base == part.tuned:
            yield part.base
        else:
            yield [part.base, part.tuned] if part.changed else [part.base, part.tuned, 1]


def case_reasons(view: CaseView, places: Mapping[int, int]) -> Iterable[list[Any]]:
    """Yield metric, arm and the metric's reason, with a 1 at the end if the case is unscored."""
    for score in view.scores:
        for arm, row in (("base", score.base), ("tuned", score.tuned)):
            if row is not None and row.reason:
                reason = [places[id(score.metric)], arm, _short(row.reason)]
                yield reason if row.value is not None else [*reason, 1]


def _cell(stored: StoredAnswer) -> dict[str, Any]:
    done = stored.completion
    facts: dict[str, Any] = {
        "arm": stored.cell.arm,
        "kind": stored.cell.kind,
        "status": None if stored.status == "ok" else stored.status,
        "error": _short(stored.error) if stored.error else None,
        "began": stored.started_s,
        "stored": stored.cache_hit or None,
    }
    if done is not None:
        facts |= {
            "finish": done.finish_reason,
            "read": done.input_tokens,
            "wrote": done.output_tokens,
            "thought": done.reasoning_tokens,
            "took": round_number(done.latency_s),
            "batch": done.batch_size,
            "asked": done.attempts,
            "cost": round_number(done.cost),
            "answer": round_number(done.answer_logprob),
        }
    return {key: value for key, value in facts.items() if value is not None}


def judgement_json(line: Judgement) -> dict[str, Any]:
    """Return one judgement."""
    facts = {
        "arm": line.arm,
        "metric": line.metric,
        "judge": line.judge,
        "status": line.status,
        "value": round_number(line.value),
        "reason": _short(line.reason) if line.reason else None,
        "asked": line.attempts,
        "took": round_number(line.latency_s),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _short(text: str) -> str:
    return text if len(text) <= REASON else text[:REASON] + "…"
