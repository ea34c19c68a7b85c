"""The written answers of each arm, kept small enough to see what is odd about them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunegate.harness.records.answers import WRITTEN, StoredAnswer
from tunegate.harness.records.cases import Case

MOST_EMPTY = 0.5
"""Share of an arm's answers above which empty ones look broken."""
READ = 1000
"""Cases of a suite, and below twice as many characters of an answer, whose words are kept."""
WORD = re.compile(r"\w+")


@dataclass(slots=True)
class ArmAnswers:
    """An arm's written answers to one suite, one a prompt."""

    cases: Sequence[Case] = ()
    """The suite's cases, in its order."""
    texts: dict[str, int] = field(default_factory=dict)
    """Case → hash of its answer."""
    empty: int = 0
    common: str = ""
    """The text that most answers are, if more than half of them are one text."""
    votes: int = 0
    words: dict[str, frozenset[str]] = field(default_factory=dict)

    def add(self, case: Case, text: str) -> None:
        """Count an answer; the scores of another tool come with the same answers again."""
        if case.id in self.texts:
            return
        text = text.strip()
        self.texts[case.id] = hash(text)
        self.empty += not text and not case.allows_empty
        # Boyer and Moore's vote: a text of more than half of the answers is left at the end.
        if not self.votes:
            self.common = text
        self.votes += 1 if text == self.common else -1
        if len(self.words) < READ:
            self.words[case.id] = words_of(text)

    def commonest(self) -> tuple[str, list[str]]:
        """Return the text that most answers may be, and its cases."""
        wanted = hash(self.common)
        return self.common, [case for case, one in self.texts.items() if one == wanted]


class AnswerWatch:
    """Collects the written answers of a run's arms."""

    def __init__(self, cases: Mapping[str, Sequence[Case]]) -> None:
        self.arms: dict[str, dict[str, ArmAnswers]] = {}
        """Suite → arm → its answers."""
        self._cases = cases
        self._first: dict[str, dict[str, Case]] = {}
        for suite, of in cases.items():
            prompts = {repr(case.prompt or case.messages): case for case in reversed(of)}
            self._first[suite] = {case.id: case for case in prompts.values()}

    def add(self, stored: StoredAnswer) -> None:
        """Count an answer: the first sample to each prompt. An episode has no one text."""
        cell, done = stored.cell, stored.completion
        if cell.kind not in WRITTEN or cell.sample or done is None:
            return
        case = self._first.get(cell.suite, {}).get(cell.case)
        if case is not None and done.text is not None and done.episode is None:
            arms = self.arms.setdefault(cell.suite, {})
            of = self._cases[cell.suite]
            arms.setdefault(cell.arm, ArmAnswers(of)).add(case, done.text)


def words_of(text: str) -> frozenset[str]:
    """Return the different words of the beginning of a text."""
    return frozenset(WORD.findall(text[: 2 * READ].casefold()))
