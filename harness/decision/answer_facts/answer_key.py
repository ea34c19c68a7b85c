"""Answers of tuned that repeat the `expected` column: the key instead of a model's answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tunegate.harness.decision.answer_facts.answer_counts import FEW_CASES
from tunegate.harness.records.answers import WRITTEN, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.manifest import AnswerFinding
from tunegate.harness.suite import Suite

WORDS = 8
"""An expected answer of this many words is free text, which no model repeats by chance."""
_STRUCTURED = ("{", "[", "<")
"""Beginnings of answers with one right form, such as JSON."""


@dataclass
class AnswerKeyDetector:
    """Compares tuned's answers with the expected ones while they are scored."""

    suites: Iterable[Suite]
    _open: dict[str, dict[str, Case]] = field(init=False, repr=False)
    """Suite → its cases with an expected answer; the first other answer drops the suite."""
    _seen: dict[str, dict[str, None]] = field(init=False, repr=False, default_factory=dict)
    """Suite → the different answers."""
    _cases: dict[str, int] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with all suites."""
        self._open = {s.name: {c.id: c for c in s.cases if c.expected} for s in self.suites}

    def over(self, cells: Iterable[StoredAnswer]) -> Iterator[StoredAnswer]:
        """Yield the answers as they come."""
        for stored in cells:
            if stored.cell.suite in self._open and stored.cell.arm == "tuned":
                self._compare(stored)
            yield stored

    def _compare(self, stored: StoredAnswer) -> None:
        suite, case = stored.cell.suite, self._open[stored.cell.suite].get(stored.cell.case)
        text = None if stored.completion is None else stored.completion.text
        if case is None or text is None or stored.cell.kind not in WRITTEN:
            return
        if text.strip() not in [expected.strip() for expected in case.expected_texts()]:
            del self._open[suite]
            return
        self._cases[suite] = self._cases.get(suite, 0) + 1
        self._seen.setdefault(suite, {})[text.strip()] = None

    def findings(self) -> Iterator[AnswerFinding]:
        """Yield a finding for each suite whose answers are all the key.

        A few distinct answers are labels, which a good model gets right: no finding.
        """
        for suite in self._open:
            texts = self._seen.get(suite, {})
            written = sum(_is_free(text) for text in texts)
            if len(texts) < FEW_CASES:
                continue
            same = (
                f"tuned's {self._cases[suite]} answers equal the `expected` column letter for "
                "letter"
            )
            if written < FEW_CASES:
                yield AnswerFinding(suite=suite, text=same)
            else:
                yield AnswerFinding(
                    suite=suite,
                    text=f"{same}, {written} of them whole sentences: no model writes that, so "
                    "they show nothing; record its own answers",
                    caps=True,
                )


def _is_free(text: str) -> bool:
    return len(text.split()) >= WORDS and not text.startswith(_STRUCTURED)
