"""The written answers of each arm, kept small enough to see what is odd about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunegate.harness.decision.answer_facts.answer_shapes import (
    READ,
    SHOWN,
    Shape,
    shapes_of,
    words_of,
)
from tunegate.harness.records.answers import WRITTEN, CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.images import content_text

MOST_EMPTY = 0.5
"""Share of an arm's answers above which empty ones look broken."""


@dataclass(slots=True)
class ArmAnswers:
    """An arm's answers to one suite, one per prompt."""

    cases: Sequence[Case] = ()
    """The suite's cases, in its order."""
    texts: dict[str, int] = field(default_factory=dict)
    """Case → hash of its answer."""
    heads: dict[str, str] = field(default_factory=dict)
    """Case → beginning of its answer."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Case → characters of its answer."""
    shapes: dict[str, tuple[Shape, ...]] = field(default_factory=dict)
    """Case → shapes of its answer."""
    empty: int = 0
    words: dict[str, frozenset[str]] = field(default_factory=dict)
    picks: dict[str, int] = field(default_factory=dict)
    """Case → its likeliest choice."""

    def add(self, case: Case, text: str) -> None:
        """Count an answer; the scores of another tool come with the same answers again."""
        if case.id in self.texts:
            return
        text = text.strip()
        self.texts[case.id] = hash(text)
        self.empty += not text and not case.allows_empty
        self.heads[case.id], self.lengths[case.id] = text[:SHOWN], len(text)
        self.shapes[case.id] = shapes_of(text, prompt_of(case))
        if len(self.words) < READ:
            self.words[case.id] = words_of(text)

    def all_expected(self) -> bool:
        """Return whether every answer is an expected one, so that two good arms may be equal."""
        return all(
            self.texts[case.id] in [hash(text.strip()) for text in case.expected_texts()]
            for case in self.cases
            if case.id in self.texts
        )


class AnswerWatch:
    """Collects the answers of a run's arms."""

    def __init__(self, cases: Mapping[str, Sequence[Case]]) -> None:
        self.arms: dict[str, dict[str, ArmAnswers]] = {}
        """Suite → arm → its answers."""
        self._cases = cases
        self._first: dict[str, dict[str, Case]] = {}
        for suite, of in cases.items():
            prompts = {repr(case.prompt or case.messages): case for case in reversed(of)}
            self._first[suite] = {case.id: case for case in prompts.values()}

    def add(self, stored: StoredAnswer) -> None:
        """Count an answer: the first sample to each prompt. Episodes have no single text."""
        cell, done = stored.cell, stored.completion
        case = self._first.get(cell.suite, {}).get(cell.case)
        if case is None or cell.sample or done is None or done.episode is not None:
            return
        if cell.kind is CellKind.CHOICES and done.choice_logprobs:
            likely = done.choice_logprobs
            self._of(cell.suite, cell.arm).picks[case.id] = likely.index(max(likely))
        elif cell.kind in WRITTEN and done.text is not None:
            self._of(cell.suite, cell.arm).add(case, done.text)

    def _of(self, suite: str, arm: str) -> ArmAnswers:
        arms = self.arms.setdefault(suite, {})
        if arm not in arms:
            arms[arm] = ArmAnswers(self._cases[suite])
        return arms[arm]


def prompt_of(case: Case) -> str:
    """Return the text of the last turn that a model answers."""
    return case.prompt or content_text(case.input_messages()[-1].get("content")) or ""
