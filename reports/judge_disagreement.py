"""Cases on which judges disagree: with themselves, with each other, or with a rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from tunegate.harness.records.judgements import Judgement
from tunegate.reports.case_view import CaseView, PairScore

SPREAD = "jury_spread"
"""Part of a jury's score: how far its judges differ."""


def order_changed(judgement: Judgement) -> bool:
    """Return whether a judge of pairs changed its verdict with the answers in the other order."""
    parts = judgement.parts or {}
    if not {"base_first", "tuned_first"} <= parts.keys():
        return False
    first, second = parts["base_first"], parts["tuned_first"]
    return first * second < 0 or (first == 0) != (second == 0)


def judgements_by_case(
    judgements: Iterable[Judgement],
) -> Mapping[tuple[str, str], tuple[Judgement, ...]]:
    """Return (suite, case) → the judges' replies."""
    by_case: dict[tuple[str, str], list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        by_case[judgement.suite, judgement.case].append(judgement)
    return {key: tuple(lines) for key, lines in by_case.items()}


def disagreement_notes(
    view: CaseView, judged: Iterable[Judgement], metrics: Iterable[str]
) -> tuple[str, ...]:
    """Return in words what the judges of a case disagree on."""
    names = set(metrics)
    scores = [score for score in view.scores if score.metric.name in names]
    notes = [
        f"{name}: another answer with the completions the other way round"
        for name in sorted({line.metric for line in judged if order_changed(line)})
    ]
    notes += [f"{s.metric.name}: the jury is divided" for s in scores if _is_divided(s)]
    rules = {_sign(s) for s in view.scores if s.metric.ranks and s.metric.name not in names}
    notes += [
        f"{s.metric.name}: the judge and a rule point in opposite directions"
        for s in scores
        if _sign(s) and -_sign(s) in rules
    ]
    return tuple(notes)


def _is_divided(score: PairScore) -> bool:
    rows = (row for row in (score.base, score.tuned) if row is not None)
    return any((row.parts or {}).get(SPREAD, 0) > 0 for row in rows)


def _sign(score: PairScore) -> int:
    change = score.change or 0
    return (change > 0) - (change < 0)
