"""Answer counts: written answers that are equal, cut or have thoughts, and episodes that failed;
what thoughts take of times and prices.

The scores do not show it: an answer that was cut is scored like any other, and a fine-tune that
writes what base writes has no effect to score.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple

from tunegate.harness.contracts.thoughts import HAS_THOUGHTS
from tunegate.harness.decision.answers.arm_answers import MOST_EMPTY, AnswerWatch, ArmAnswers
from tunegate.harness.decision.answers.form_shift import FormShift, answer_forms, find_shift
from tunegate.harness.records.answers import WRITTEN, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.wording import count_noun

ARMS = ("base", "tuned")
MOST_CUT = 0.05
"""Share of an arm's answers cut at the token limit above which a reader is warned."""
SAME_SCORES = 0.99
"""Share of equal scores or answers from which the fine-tune's lack of effect is pointed out."""
FEW_CASES = 20
"""Below this, equal scores are no surprise."""
OTHER_SHARE = 0.10
"""Difference in the share of answers with thoughts from which it is pointed out."""


class AnswerCounts(NamedTuple):
    """Notes on a suite's written answers as a whole."""

    same: int = 0
    """How many are equal in base and tuned …"""
    compared: int = 0
    """… of how many that both wrote."""
    cut: Mapping[str, tuple[int, int]] = MappingProxyType({})
    """Base and tuned → answers that the token limit cut, of how many written."""
    failed: Mapping[str, int] = MappingProxyType({})
    """Base and tuned → how many failed in this arm and not in the other; the reasons are left out.
    """
    pairs: int = 0
    """How many answers were asked of both arms."""
    open: Mapping[str, int] = MappingProxyType({})
    """Base and tuned → answers that were cut within the thoughts; they are not among the others."""
    thought: Mapping[str, int] = MappingProxyType({})
    """Base and tuned → answers with thoughts before them."""
    arms: Mapping[str, ArmAnswers] = MappingProxyType({})
    """Arm → its answers, by which a broken one is seen; absent where the cases are not known."""
    form: FormShift | None = None
    """The form that tuned's answers have far more often than base's."""

    @property
    def same_share(self) -> float | None:
        """Which share of the answers that both arms wrote is equal; None without any."""
        return self.same / self.compared if self.compared else None


def count_answers(
    cells: Iterable[StoredAnswer], cases: Mapping[str, Sequence[Case]] = MappingProxyType({})
) -> dict[str, AnswerCounts]:
    """Return suite → counts of its written answers.

    Args:
        cells: The answers; the cells of a case must come together.
        cases: Suite → its cases, to tell broken answers by.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    watch = AnswerWatch(cases)
    forms: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = defaultdict(list)
    for (suite, _), group in cells_by_case(cells):
        texts: dict[int, dict[str, str | None]] = {}
        failed: dict[int, dict[str, bool]] = {}
        for stored in group:
            arm, done = stored.cell.arm, stored.completion
            if stored.cell.kind not in WRITTEN:
                continue
            failed.setdefault(stored.cell.sample, {})[arm] = done is None
            if done is not None:
                texts.setdefault(stored.cell.sample, {})[arm] = _whole_text(done)
                counts[suite].update(_facts(arm, done))
                watch.add(stored)
        first = texts.get(0, {})
        base, tuned = (first.get(arm) for arm in ARMS)
        if base is not None and tuned is not None:
            of_base = answer_forms(base)
            forms[suite].append((of_base, of_base if tuned == base else answer_forms(tuned)))
        pairs = [found for found in texts.values() if {"base", "tuned"} <= found.keys()]
        same = sum(found["base"] == found["tuned"] for found in pairs)
        counts[suite].update(compared=len(pairs), same=same)
        for found in (found for found in failed.values() if {"base", "tuned"} <= found.keys()):
            counts[suite]["pairs"] += 1
            counts[suite]["failed base"] += found["base"] and not found["tuned"]
            counts[suite]["failed tuned"] += found["tuned"] and not found["base"]
    return {
        suite: _answer_counts(own)._replace(
            arms=watch.arms.get(suite, {}), form=find_shift(forms[suite])
        )
        for suite, own in counts.items()
    }


def _facts(arm: str, done: Completion) -> dict[str, int]:
    """Return what counts of one answer."""
    cut = done.finish_reason == "length"
    unended = cut and done.reasoning_closed is False
    return {
        f"written {arm}": 1,
        f"cut {arm}": int(cut and not unended),
        f"open {arm}": int(unended),
        f"thought {arm}": int(done.thinks),
    }


def _whole_text(done: Completion) -> str | None:
    """Return what the model wrote, in all turns of an episode."""
    if done.episode is None:
        return done.text
    return "\0".join(turn.text for turn in done.episode.turns)


def cells_by_case(
    cells: Iterable[StoredAnswer],
) -> Iterator[tuple[tuple[str, str], Iterator[StoredAnswer]]]:
    """Yield (suite, case) with its cells, as they come together in a plan."""
    return groupby(cells, key=lambda stored: (stored.cell.suite, stored.cell.case))


def _answer_counts(own: Counter[str]) -> AnswerCounts:
    arms = [arm for arm in ARMS if own[f"written {arm}"]]
    return AnswerCounts(
        same=own["same"],
        compared=own["compared"],
        cut={arm: (own[f"cut {arm}"], own[f"written {arm}"]) for arm in arms},
        failed={arm: own[f"failed {arm}"] for arm in ARMS if own[f"failed {arm}"]},
        pairs=own["pairs"],
        open={arm: own[f"open {arm}"] for arm in arms},
        thought={arm: own[f"thought {arm}"] for arm in arms},
    )


def answer_notes(counts: AnswerCounts, card: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a reader must know of the answers of a suite.

    Args:
        counts: The counts.
        card: The record of tuned's training; empty if there is none.
    """
    if any(cut > MOST_CUT * written for cut, written in counts.cut.values()):
        both = " and ".join(
            f"{cut:,} of {count_noun(written, 'answer')} of {arm}"
            for arm, (cut, written) in counts.cut.items()
        )
        yield (
            f"{both} were cut at the token limit: raise max_new_tokens, or their scores are those "
            "of unfinished answers"
        )
    for arm, (_, written) in counts.cut.items():
        if (unended := counts.open.get(arm, 0)) > MOST_CUT * written:
            yield (
                f"{unended:,} of {count_noun(written, 'answer')} of {arm} were cut within the "
                "thoughts and count as empty: raise thinking_budget, or switch thinking off, under "
                "[generation]"
            )
    for arm in (arm for arm in ARMS if arm in counts.arms):
        empty, asked = counts.arms[arm].empty - counts.open.get(arm, 0), len(counts.arms[arm].texts)
        if MOST_CUT * asked < empty <= MOST_EMPTY * asked:
            yield f"{empty:,} of {count_noun(asked, 'answer')} of {arm} are empty"
    yield from _thinking_notes(counts, card)
    if counts.compared >= FEW_CASES and counts.same >= SAME_SCORES * counts.compared:
        yield (
            f"both arms wrote the same answer, byte for byte, on {counts.same} of "
            f"{counts.compared} prompts: the fine-tune hardly acts here"
        )


def _thinking_notes(counts: AnswerCounts, card: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the arms, or training and evaluation, differ in whether the model thinks."""
    told = {arm: (counts.thought.get(arm, 0), written) for arm, (_, written) in counts.cut.items()}
    shares = {arm: thought / written for arm, (thought, written) in told.items()}
    if len(shares) == len(ARMS) and abs(shares["base"] - shares["tuned"]) > OTHER_SHARE:
        (base, of_base), (tuned, of_tuned) = told["base"], told["tuned"]
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
            "switched off, or are the tags others than the known ones (thinking_tags)?"
        )
    elif 2 * thinking <= rows and shares["tuned"] >= 0.5:
        yield (
            f"tuned was trained on answers without thoughts ({rows - thinking:,} of "
            f"{count_noun(rows, 'row')}) and mostly wrote some: it is judged in a mode that it was "
            'not trained in; try thinking = "off"'
        )


def thinking_share_notes(
    metrics: Iterable[MetricRecord],
    values: Mapping[tuple[str, str, str], ScoreRow],
    cases: Collection[str],
) -> Iterator[str]:
    """Yield a sentence for each metric with scores that thoughts have a share of.

    A metric whose score can be divided between thoughts and answer marks this in the parts of its
    score (`tunegate.harness.contracts.thoughts.share_of_thoughts`). Where the division is not
    known, the note explains that, and gives no number.

    Args:
        metrics: The metrics of a suite.
        values: (metric, case, arm) → score.
        cases: The cases that count.
    """
    for metric in metrics:
        found = {arm: _thinking_parts(values, metric.name, arm, cases) for arm in ARMS}
        told = [f"{arm} {_share(parts)}" for arm, parts in found.items() if parts]
        if told:
            yield f"{metric.name}: mean for the thoughts alone: {', '.join(told)}"


def _thinking_parts(
    values: Mapping[tuple[str, str, str], ScoreRow], metric: str, arm: str, cases: Collection[str]
) -> list[Mapping[str, float]]:
    """Return the parts of each of an arm's scores that thoughts have a share of."""
    rows = (values.get((metric, case, arm)) for case in cases)
    parts = (row.parts for row in rows if row is not None and row.value is not None)
    return [one for one in parts if one and HAS_THOUGHTS in one]


def _share(parts: Sequence[Mapping[str, float]]) -> str:
    """Return the mean for the thoughts, and that for thoughts and answer, in words."""
    known = [(one["thinking"], one["answer"]) for one in parts if "thinking" in one]
    if not known:
        return "not known"
    thoughts = sum(first for first, _ in known) / len(known)
    whole = thoughts + sum(second for _, second in known) / len(known)
    of = f" (known of {len(known):,} of {count_noun(len(parts), 'case')})"
    return f"{thoughts:.3g} of {whole:.3g}{of if len(known) < len(parts) else ''}"
