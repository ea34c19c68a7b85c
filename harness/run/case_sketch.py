"""Case sketch: a few hashes of a suite's cases, by which an edited or renamed suite is recognised.

With hashes of a fine-tune's answers to these cases, a recorded fine-tune is recognised as well,
whatever its file is called, in whatever order its lines are, and however long the answers took.

Source: bottom-k sketches (Cohen and Kaplan 2007): the k smallest hashes of the union of two sets
are a random sample of it, so the share of them that both sets have estimates the Jaccard index,
with a standard error of at most 0.5/sqrt(k). For sets of at most k members it is exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.hashing import sha256
from tunegate.harness.run.ledger_file import LedgerLine
from tunegate.harness.suite import Suite
from tunegate.harness.suite.equal_prompts import normalize_messages, normalize_prompt

SKETCH = 64
"""Hashes of a sketch; a suite with fewer cases is known entirely."""
_DIGITS = 8
"""Hexadecimal digits of a case's hash: two of 10,000 cases collide with 1 % probability."""
RENAMED = 0.5
"""Jaccard index of the cases from which a suite with another name is the same suite."""
REWORDED = 0.8
"""Jaccard index from which equally many cases are the same cases, reworded: a tenth may differ."""
SAME_ANSWERS = 0.9
"""Share of equal answers from which a recorded fine-tune is the one that was judged before."""
_FEW = 10
"""Cases in common that tell whether the answers are the same, if there are so many."""
_ANSWER_DIGITS = 4
_NO_ANSWER = "0" * _ANSWER_DIGITS
_TIMES = {"latency_s", "batch_size", "reasoning_s", "attempts", "answered_by"}
_COUNTS = {"finish_reason", "input_tokens", "output_tokens", "reasoning_tokens", "cost"}


@dataclass(frozen=True, slots=True)
class CaseSketch:
    """A suite's cases as hashes, to compare with other versions of the suite."""

    name: str
    suite_sha256: str
    n_cases: int
    hashes: str
    places: tuple[tuple[str, ...], ...] = ()
    """Ids of the cases behind each hash."""
    answers: str = ""
    """Hashes of the answers to these cases, in their order; empty if unknown."""
    answers_sha256: str = ""
    """Hash of all answers; empty if they are not recorded."""

    @classmethod
    def of(cls, suite: Suite) -> CaseSketch:
        """Return the sketch of a suite's prompts, compared by their words."""
        prompts: dict[str, list[str]] = defaultdict(list)
        for case in suite.cases:
            prompts[sha256(normalize_messages(case.input_messages()))[:_DIGITS]].append(case.id)
        smallest = sorted(prompts)[:SKETCH]
        places = tuple(tuple(prompts[digest]) for digest in smallest)
        return cls(suite.name, suite.hash, len(suite.cases), "".join(smallest), places)

    def with_answers(self, answers: Iterable[StoredAnswer], *, recorded: bool) -> Self:
        """Return the sketch with a fine-tune's answers to the suite."""
        texts: dict[str, list[Any]] = defaultdict(list)
        sketched = {case for cases in self.places for case in cases}
        whole = []
        for answer in answers:
            cell, completion = answer.cell, answer.completion
            if cell.suite != self.name or cell.kind is CellKind.LATENCY or completion is None:
                continue
            if cell.case in sketched:
                texts[cell.case].append((cell.kind, cell.sample, _blur(_content(completion))))
            if recorded:
                facts = completion.model_dump(mode="json", exclude=_TIMES, exclude_none=True)
                whole.append(sha256([cell.case, cell.kind, cell.sample, facts]))
        digests = [
            sha256(sorted(answer_texts, key=repr))[:_ANSWER_DIGITS] if answer_texts else _NO_ANSWER
            for cases in self.places
            for answer_texts in [[text for case in cases for text in texts.get(case, ())]]
        ]
        return replace(
            self,
            answers="".join(digests) if texts else "",
            answers_sha256=sha256(sorted(whole)) if whole else "",
        )

    def has_answers_of(self, line: LedgerLine) -> bool:
        """Return whether a line is about a fine-tune with the same answers to nine in ten cases."""
        return self._equal_share(line) >= SAME_ANSWERS

    def has_all_answers_of(self, line: LedgerLine) -> bool:
        """Return whether a line is about the same answers, as far as it knows them."""
        if line.answers_sha256:
            return line.answers_sha256 == self.answers_sha256
        return self._equal_share(line) == 1

    def _equal_share(self, line: LedgerLine) -> float:
        """Return the share of common cases with equal answers; 0 with too few in common."""
        if not self.answers_sha256 or not line.answers:
            return 0.0
        ours, theirs = _by_case(self.hashes, self.answers), _by_case(line.cases, line.answers)
        shared = ours.keys() & theirs.keys()
        if len(shared) < max(1, min(_FEW, len(ours), len(theirs))):
            return 0.0
        return sum(ours[case] == theirs[case] for case in shared) / len(shared)

    def is_of(self, line: LedgerLine) -> bool:
        """Return whether a line is about a version of this suite.

        Under the same name one shared case is enough; under another name half of them must match.
        """
        if line.suite_sha256 == self.suite_sha256:
            return True
        likeness = jaccard(self.hashes, line.cases)
        return likeness > 0 if line.suite == self.name else likeness >= RENAMED

    def has_cases_of(self, line: LedgerLine) -> bool:
        """Return whether a line is about these cases, at most reworded."""
        if line.suite_sha256 == self.suite_sha256:
            return True
        same = line.cases == self.hashes or jaccard(self.hashes, line.cases) >= REWORDED
        return same and line.n_cases == self.n_cases


@cache
def jaccard(one: str, other: str) -> float:
    """Return the estimated Jaccard index of two suites' cases, by their sketches."""
    ours, theirs = _split_hashes(one), _split_hashes(other)
    union = sorted(ours | theirs)[:SKETCH]
    return sum(digest in ours and digest in theirs for digest in union) / max(1, len(union))


@cache
def _by_case(cases: str, answers: str) -> dict[str, str]:
    """Return the hash of each case's answer."""
    names = [cases[i : i + _DIGITS] for i in range(0, len(cases), _DIGITS)]
    step = _ANSWER_DIGITS
    digests = [answers[i : i + step] for i in range(0, len(answers), step)]
    return {k: v for k, v in zip(names, digests, strict=False) if v != _NO_ANSWER}


def _content(completion: Completion) -> dict[str, Any]:
    """Return what an answer says, without times and counts."""
    return completion.model_dump(mode="json", exclude=_TIMES | _COUNTS, exclude_none=True)


def _blur(value: Any) -> Any:
    """Return a value with its texts as their words and its numbers with two digits."""
    if isinstance(value, float):
        return f"{value:.2g}"
    if isinstance(value, dict):
        return {key: _blur(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_blur(inner) for inner in value]
    return normalize_prompt(value) if isinstance(value, str) else value


@cache
def _split_hashes(sketch: str) -> frozenset[str]:
    return frozenset(sketch[i : i + _DIGITS] for i in range(0, len(sketch), _DIGITS))
