"""Case sketch: a few hashes of a suite's cases, by which an edited or renamed suite is recognised.

Source: bottom-k sketches (Cohen and Kaplan 2007): the k smallest hashes of the union of two sets
are a random sample of it, so the share of them that both sets have estimates the Jaccard index,
with a standard error of at most 0.5/sqrt(k). For sets of at most k members it is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tunegate.harness.records.hashing import sha256
from tunegate.harness.run.ledger_file import LedgerLine
from tunegate.harness.suite import Suite
from tunegate.harness.suite.equal_prompts import normalize_messages

SKETCH = 64
"""Hashes of a sketch; a suite with fewer cases is known entirely."""
_DIGITS = 8
"""Hexadecimal digits of a case's hash: two of 10,000 cases collide with 1 % probability."""
RENAMED = 0.5
"""Jaccard index of the cases from which a suite with another name is the same suite."""
REWORDED = 0.8
"""Jaccard index from which equally many cases are the same cases, reworded: a tenth may differ."""


@dataclass(frozen=True, slots=True)
class CaseSketch:
    """A suite's cases as hashes, to compare with other versions of the suite."""

    name: str
    suite_sha256: str
    n_cases: int
    hashes: str

    @classmethod
    def of(cls, suite: Suite) -> CaseSketch:
        """Return the sketch of a suite's prompts, compared by their words."""
        prompts = {sha256(normalize_messages(case.input_messages())) for case in suite.cases}
        smallest = sorted(digest[:_DIGITS] for digest in prompts)[:SKETCH]
        return cls(suite.name, suite.hash, len(suite.cases), "".join(smallest))

    def is_of(self, line: LedgerLine) -> bool:
        """Return whether a line is about a version of this suite.

        Under the same name one shared case is enough; under another name half of them must match.
        """
        if line.suite_sha256 == self.suite_sha256:
            return True
        found = jaccard(self.hashes, line.cases)
        return found > 0 if line.suite == self.name else found >= RENAMED

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
def _split_hashes(sketch: str) -> frozenset[str]:
    return frozenset(sketch[i : i + _DIGITS] for i in range(0, len(sketch), _DIGITS))
