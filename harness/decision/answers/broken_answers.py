"""Broken answers: an arm that wrote nothing, one text for all prompts, or other cases' answers.

A gain over a broken base means nothing, and the scores do not show it: an empty answer, an error
message with HTTP 200 and the answer to the next question all count as wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tunegate.harness.decision.answers.arm_answers import (
    MOST_EMPTY,
    READ,
    WORD,
    ArmAnswers,
    words_of,
)
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.images import content_text

FEWEST = 10
"""Prompts below which nothing is checked."""
ONE_TEXT = 0.8
"""Share of the prompts above which one wrong text as the answer looks broken."""
NO_POINTS = 0.1
"""Mean score, as a share of the metric's range, up to which one text for all prompts is wrong."""
SHIFTED = 0.3
"""Share of the cases that fit a neighbour better, from which answers may be shifted."""
CHANCE = 1e-4
"""Largest p-value at which they are called shifted."""


def broken_arms(table: ScoreTable, arms: Iterable[str]) -> Iterator[str]:
    """Yield why the answers of an arm look broken."""
    for arm in arms:
        found = table.answers.arms.get(arm)
        if found is not None and len(found.texts) >= FEWEST:
            why = _empty(found) or _one_text(table, arm, found) or _shifted(found)
            if why:
                yield f"{arm} looks broken: {why}"


def all_expected(found: ArmAnswers) -> bool:
    """Return whether every answer is an expected one, so that two good arms may well be equal."""
    return all(
        found.texts[case.id] in [hash(text.strip()) for text in case.expected_texts()]
        for case in found.cases
        if case.id in found.texts
    )


def _empty(found: ArmAnswers) -> str:
    if found.empty <= MOST_EMPTY * len(found.texts):
        return ""
    return (
        f"{found.empty} of its {len(found.texts)} answers are empty; look at how it was asked, "
        "and at its log"
    )


def _one_text(table: ScoreTable, arm: str, found: ArmAnswers) -> str:
    """Return that one text, which is wrong, answers most prompts."""
    text, cases = found.commonest()
    if not text or len(cases) <= ONE_TEXT * len(found.texts) or _is_label(table, text):
        return ""
    if not _earns_nothing(table, arm, cases):
        return ""
    return (
        f"{text[:60]!r} is its answer to {len(cases)} of {len(found.texts)} prompts, and wrong; "
        "is it an error message?"
    )


def _is_label(table: ScoreTable, text: str) -> bool:
    """Return whether a text is, or contains, one of the few answers that the suite expects.

    If the suite expects only one answer, any text may be the other label.
    """
    words = _spaced(text)
    answers = [(*case.expected_texts(), *(case.choices or ())) for case in table.cases.values()]
    labels = {_spaced(one) for several in answers for one in several} - {"  "}
    closed = 2 * len(labels) <= len(table.cases)
    return (
        len(labels) == 1 or words in labels or (closed and any(label in words for label in labels))
    )


def _spaced(text: str) -> str:
    return f" {' '.join(WORD.findall(text.casefold()))} "


def _earns_nothing(table: ScoreTable, arm: str, cases: Sequence[str]) -> bool:
    """Return whether a metric that compares the arms has next to no points for these answers."""
    compared = {g.metric for g in table.suite.gates if not gate_kind(g.kind).reads_level}
    for metric in table.suite.metrics:
        if metric.name not in compared or metric.range is None:
            continue
        values = [v for case in cases if (v := table.value(metric.name, case, arm)) is not None]
        low, high = metric.range
        worst = low if metric.higher_is_better else high
        if values and abs(sum(values) / len(values) - worst) <= NO_POINTS * (high - low):
            return True
    return False


def _shifted(found: ArmAnswers) -> str:
    """Return that answers fit the next or the previous case better than their own."""
    targets = [_target(case) for case in found.cases[: 2 * READ]]
    answers = [found.words.get(case.id) for case in found.cases[: 2 * READ]]
    for step, where in ((1, "next"), (-1, "previous")):
        fits = [
            [_fit(words, targets[j]) for j in (i + step, i, i - step)]
            for i, words in enumerate(answers[1:-1], start=1)
            if words is not None
        ]
        own = _ahead((moved, here) for moved, here, _ in fits)
        other = _ahead((moved, back) for moved, _, back in fits)
        # Both: where labels alternate, an arm that mixes them up fits either neighbour.
        if min(own, other) > SHIFTED * len(fits):
            return (
                f"its answers fit the {where} case better than their own (on {own} more of "
                f"{len(fits)} cases); are they shifted by a line?"
            )
    return ""


def _ahead(fits: Iterable[tuple[float, float]]) -> int:
    """Return on how many more cases the first fit is better; 0 if that may be chance."""
    from tunegate.harness.stats.binary import mcnemar_midp

    pairs = list(fits)
    better, worse = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
    return better - worse if mcnemar_midp(better, worse).p_value <= CHANCE else 0


def _target(case: Case) -> frozenset[str]:
    """Return the words that an answer should have: the expected ones, or the question's."""
    if case.expected is not None:
        return words_of(" ".join(case.expected_texts()))
    return words_of(content_text(case.input_messages()[-1].get("content")) or "")


def _fit(answer: frozenset[str], target: frozenset[str]) -> float:
    return len(answer & target) / len(answer) if answer else 0.0
