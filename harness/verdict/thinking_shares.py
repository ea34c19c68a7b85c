"""Thinking shares: what the thoughts of an arm have of its time or price, as notes of a verdict.

A metric whose score can be divided between thoughts and answer marks this in the parts of its score
(`tunegate.harness.thinking.share_of_thoughts`). Where the division is not known, the note says
that, and gives no number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tunegate.harness.comparison.answer_counts import ARMS
from tunegate.harness.comparison.score_table import ScoreTable
from tunegate.harness.gate_kind import count_noun
from tunegate.harness.thinking import HAS_THOUGHTS


def thinking_share_notes(table: ScoreTable) -> Iterator[str]:
    """Yield a sentence for each metric with scores that thoughts have a share of."""
    for metric in table.suite.metrics:
        found = {arm: _thinking_parts(table, metric.name, arm) for arm in ARMS}
        told = [f"{arm} {_share(parts)}" for arm, parts in found.items() if parts]
        if told:
            yield f"{metric.name}: mean for the thoughts alone: {', '.join(told)}"


def _thinking_parts(table: ScoreTable, metric: str, arm: str) -> list[Mapping[str, float]]:
    """Return the parts of each of an arm's scores that thoughts have a share of."""
    rows = (table.values.get((metric, case, arm)) for case in table.cases)
    parts = (row.parts for row in rows if row is not None and row.value is not None)
    return [one for one in parts if one and HAS_THOUGHTS in one]


def _share(parts: Sequence[Mapping[str, float]]) -> str:
    """Return the mean for the thoughts, and that for thoughts and answer, in words."""
    known = [(one["thinking"], one["answer"]) for one in parts if "thinking" in one]
    if not known:
        return "not known"
    thoughts = sum(first for first, _ in known) / len(known)
    whole = thoughts + sum(second for _, second in known) / len(known)
    of = f" (known of {len(known)} of {count_noun(len(parts), 'case')})"
    return f"{thoughts:.3g} of {whole:.3g}{of if len(known) < len(parts) else ''}"
