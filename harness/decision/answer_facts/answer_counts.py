"""Answer counts: written answers that are equal, cut or have thoughts, and episodes that failed.

The scores do not show it: a cut answer is scored like any other, and a fine-tune that writes what
base writes has no effect to score.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from statistics import median
from types import MappingProxyType

from tunegate.harness.contracts.further_arm import ARMS
from tunegate.harness.decision.answer_facts.arm_answers import AnswerWatch, ArmAnswers
from tunegate.harness.decision.answer_facts.form_shift import FormShift, answer_forms, find_shift
from tunegate.harness.records.answers import WRITTEN, Completion, StoredAnswer
from tunegate.harness.records.calibration import answers_hash
from tunegate.harness.records.cases import Case

FEW_CASES = 20
"""Below this, equal scores are no surprise."""


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """Counts of a suite's written answers: all that a verdict takes from their texts.

    An attestation holds them, so that its verdict needs no text.
    """

    same: int = 0
    """Answers that are equal in base and tuned."""
    compared: int = 0
    """Answers that both wrote."""
    cut: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Arm → (answers that the token limit cut, answers written)."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """Arm → answers that failed in this arm only."""
    pairs: int = 0
    """Answers asked of both arms."""
    open: Mapping[str, int] = field(default_factory=dict)
    """Arm → answers cut within their thoughts, which `cut` does not count."""
    thought: Mapping[str, int] = field(default_factory=dict)
    """Arm → answers with thoughts before them."""
    empty: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Arm → (empty answers, prompts answered)."""
    broken: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Arm → why its answers look broken; `read_answers` fills this and the next three."""
    odd: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Arm → what else is striking about its answers."""
    equals_incumbent: bool | None = None
    """Whether tuned wrote the incumbent's answers; None if one of them wrote none."""
    all_expected: bool = False
    """Whether every answer of tuned is an expected one."""
    form: FormShift | None = None
    """The form that tuned's answers have far more often than base's."""
    prompts_in_form: int = 0
    """Prompts that have this form themselves."""
    length_ratio: float | None = None
    """Median of the length of tuned's answer over that of base's; None if few were written."""
    hashes: Mapping[str, str] | None = None
    """Case → hash of its two answers, by which labelled ones are recognized; None if unknown."""
    arms: Mapping[str, ArmAnswers] = field(default_factory=dict)
    """Arm → its answers; empty after `read_answers`, or if the cases are unknown."""

    @property
    def same_share(self) -> float | None:
        """Share of equal answers; None if both wrote none."""
        return self.same / self.compared if self.compared else None


def count_answers(
    cells: Iterable[StoredAnswer], cases: Mapping[str, Sequence[Case]] = MappingProxyType({})
) -> dict[str, AnswerCounts]:
    """Return suite → counts of its written answers, before `read_answers` adds what is broken.

    Args:
        cells: The answers, grouped by case.
        cases: Suite → its cases, to recognize broken answers.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    watch = AnswerWatch(cases)
    hashes: dict[str, dict[str, str]] = defaultdict(dict)
    forms: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)
    for (suite, case), group in cells_by_case(cells):
        texts: dict[int, dict[str, str | None]] = {}
        failed: dict[int, dict[str, bool]] = {}
        for stored in group:
            watch.add(stored)
            arm, done = stored.cell.arm, stored.completion
            if stored.cell.kind not in WRITTEN:
                continue
            failed.setdefault(stored.cell.sample, {})[arm] = done is None
            if done is not None:
                texts.setdefault(stored.cell.sample, {})[arm] = whole_text(done)
                counts[suite].update(_facts(arm, done))
        first = texts.get(0, {})
        base, tuned = (first.get(arm) for arm in ARMS)
        if base is not None and tuned is not None:
            of_base = answer_forms(base)
            if base:
                ratios[suite].append(len(tuned) / len(base))
            hashes[suite][case] = answers_hash(base, tuned)
            forms[suite].append((of_base, of_base if tuned == base else answer_forms(tuned)))
        # Results of other tools often hold scores only: no text is not an equal text.
        pairs = [by_arm for by_arm in texts.values() if None not in map(by_arm.get, ARMS)]
        same = sum(by_arm["base"] == by_arm["tuned"] for by_arm in pairs)
        counts[suite].update(compared=len(pairs), same=same)
        for by_arm in (by_arm for by_arm in failed.values() if {"base", "tuned"} <= by_arm.keys()):
            counts[suite]["pairs"] += 1
            counts[suite]["failed base"] += by_arm["base"] and not by_arm["tuned"]
            counts[suite]["failed tuned"] += by_arm["tuned"] and not by_arm["base"]
    return {
        suite: replace(
            _answer_counts(counts[suite]),
            arms=(arms := watch.arms.get(suite, {})),
            empty={arm: (answers.empty, len(answers.texts)) for arm, answers in arms.items()},
            form=find_shift(forms[suite]),
            hashes=hashes[suite] if suite in counts else None,
            length_ratio=median(ratios[suite]) if len(ratios[suite]) >= FEW_CASES else None,
        )
        for suite in dict.fromkeys((*counts, *watch.arms))
    }


def _facts(arm: str, done: Completion) -> dict[str, int]:
    """Return what one answer adds to the counts."""
    cut = done.finish_reason == "length"
    unended = cut and done.reasoning_closed is False
    return {
        f"written {arm}": 1,
        f"cut {arm}": int(cut and not unended),
        f"open {arm}": int(unended),
        f"thought {arm}": int(done.thinks),
    }


def whole_text(done: Completion) -> str | None:
    """Return what the model wrote, in all turns of an episode."""
    if done.episode is None:
        return done.text
    return "\0".join(turn.text for turn in done.episode.turns)


def cells_by_case(
    cells: Iterable[StoredAnswer],
) -> Iterator[tuple[tuple[str, str], Iterator[StoredAnswer]]]:
    """Yield (suite, case) with its answers."""
    return groupby(cells, key=lambda stored: (stored.cell.suite, stored.cell.case))


def _answer_counts(counts: Counter[str]) -> AnswerCounts:
    arms = [arm for arm in ARMS if counts[f"written {arm}"]]
    return AnswerCounts(
        same=counts["same"],
        compared=counts["compared"],
        cut={arm: (counts[f"cut {arm}"], counts[f"written {arm}"]) for arm in arms},
        failed={arm: counts[f"failed {arm}"] for arm in ARMS if counts[f"failed {arm}"]},
        pairs=counts["pairs"],
        open={arm: counts[f"open {arm}"] for arm in arms},
        thought={arm: counts[f"thought {arm}"] for arm in arms},
    )
