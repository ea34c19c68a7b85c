"""Notes on a suite's answers: cut, empty or equal ones, and thoughts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.further_arm import ARMS
from tunegate.harness.contracts.reasoning import HAS_THOUGHTS
from tunegate.harness.decision.answer_facts.answer_counts import FEW_CASES, AnswerCounts
from tunegate.harness.decision.answer_facts.arm_answers import MOST_EMPTY
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.wording import count_noun

MOST_CUT = 0.05
"""Share of an arm's answers cut at the token limit above which a reader is warned."""
SAME_SCORES = 0.99
"""From this share of equal scores or answers, a note says that the fine-tune hardly acts."""
OTHER_SHARE = 0.10
"""A larger difference in the share of answers with thoughts gets a note."""


def answer_notes(
    counts: AnswerCounts,
    card: Mapping[str, Any],
    *,
    gained: bool = False,
    may_be_cut: bool = False,
) -> Iterator[str]:
    """Yield what a reader must know about a suite's answers."""
    if not may_be_cut and any(cut > MOST_CUT * total for cut, total in counts.cut.values()):
        cut_arms = " and ".join(
            f"{cut:,} of {count_noun(written, 'answer')} of {arm}"
            for arm, (cut, written) in counts.cut.items()
        )
        yield (
            f"{cut_arms} were cut at the token limit: raise max_new_tokens, or unfinished answers "
            "are scored"
        )
    for arm, (_, written) in counts.cut.items():
        if (unended := counts.open.get(arm, 0)) > MOST_CUT * written:
            yield (
                f"{unended:,} of {count_noun(written, 'answer')} of {arm} were cut within the "
                "thoughts and count as empty: raise thinking_budget, or switch thinking off, under "
                "[generation]"
            )
    for arm in (arm for arm in ARMS if arm in counts.empty):
        empty, total = counts.empty[arm]
        empty -= counts.open.get(arm, 0)
        if MOST_CUT * total < empty <= MOST_EMPTY * total:
            yield f"{empty:,} of {count_noun(total, 'answer')} of {arm} are empty"
    yield from _thinking_notes(counts, card)
    if not gained and counts.compared >= FEW_CASES and counts.same >= SAME_SCORES * counts.compared:
        yield (
            f"both arms wrote the same answer, byte for byte, on {counts.same} of "
            f"{counts.compared} prompts: the fine-tune hardly acts here"
        )


def _thinking_notes(counts: AnswerCounts, card: Mapping[str, Any]) -> Iterator[str]:
    """Yield if the arms, or training and evaluation, differ in whether the model thinks."""
    thoughts = {
        arm: (counts.thought.get(arm, 0), written) for arm, (_, written) in counts.cut.items()
    }
    shares = {arm: thought / count for arm, (thought, count) in thoughts.items()}
    if len(shares) == len(ARMS) and abs(shares["base"] - shares["tuned"]) > OTHER_SHARE:
        (base, of_base), (tuned, of_tuned) = thoughts["base"], thoughts["tuned"]
        yield (
            f"base wrote thoughts before {base} of {of_base} answers, tuned before {tuned} of "
            f"{of_tuned}"
        )
    rows, thinking = card.get("rows"), card.get("thinking_rows")
    if not isinstance(rows, int) or not isinstance(thinking, int) or "tuned" not in shares:
        return
    if 2 * thinking > rows and shares["tuned"] < 0.5:
        yield (
            f"tuned was trained on answers with thoughts ({thinking:,} of "
            f"{count_noun(rows, 'row')}) and mostly wrote none: is thinking "
            "switched off, or are its tags unknown (thinking_tags)?"
        )
    elif 2 * thinking <= rows and shares["tuned"] >= 0.5:
        yield (
            f"tuned was trained on answers without thoughts ({rows - thinking:,} of "
            f"{count_noun(rows, 'row')}) and mostly wrote some: it is judged in a mode it was not "
            'trained in; try thinking = "off"'
        )


def thinking_share_notes(
    metrics: Iterable[MetricRecord],
    values: Mapping[tuple[str, str, str], ScoreRow],
    cases: Collection[str],
) -> Iterator[str]:
    """Yield how much thoughts contribute to the scores that count them.

    Such a metric marks them in the parts of its score (`contracts.reasoning.share_of_thoughts`).

    Args:
        metrics: The metrics of a suite.
        values: (metric, case, arm) → score.
        cases: The cases that count.
    """
    for metric in metrics:
        by_arm = {arm: _thinking_parts(values, metric.name, arm, cases) for arm in ARMS}
        means = [f"{arm} {_share(parts)}" for arm, parts in by_arm.items() if parts]
        if means:
            yield f"{metric.name}: mean for the thoughts alone: {', '.join(means)}"


def _thinking_parts(
    values: Mapping[tuple[str, str, str], ScoreRow], metric: str, arm: str, cases: Collection[str]
) -> list[Mapping[str, float]]:
    """Return the parts of an arm's scores that count thoughts."""
    rows = (values.get((metric, case, arm)) for case in cases)
    parts = (row.parts for row in rows if row is not None and row.value is not None)
    return [row_parts for row_parts in parts if row_parts and HAS_THOUGHTS in row_parts]


def _share(parts: Sequence[Mapping[str, float]]) -> str:
    """Return the mean for the thoughts, and that for thoughts and answer, in words."""
    pairs = [(part["thinking"], part["answer"]) for part in parts if "thinking" in part]
    if not pairs:
        return "not known"
    thoughts = sum(first for first, _ in pairs) / len(pairs)
    whole = thoughts + sum(second for _, second in pairs) / len(pairs)
    of = f" (known of {len(pairs):,} of {count_noun(len(parts), 'case')})"
    return f"{thoughts:.3g} of {whole:.3g}{of if len(pairs) < len(parts) else ''}"
