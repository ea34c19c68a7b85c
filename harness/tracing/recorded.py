"""What a run recorded, case by case: the one thing that traces are made of.

The store is the record and spans are a view of it, so that a resumed or fully cached run has them
all. Cells and judgements may be more than memory holds: they are gone through a case at a time.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

from harness.judgement import Judgement
from harness.manifest import Manifest, SuiteRecord
from harness.model import Prompt
from harness.records import Case, ScoreRow, StoredCell
from harness.verdict.record import VerdictRecord

_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """All that is stored of one case."""

    suite: SuiteRecord
    id: str
    case: Case | None
    """None where the run does not hold it."""
    cells: tuple[StoredCell, ...]
    prompts: Mapping[str, Prompt]
    """Arm → the prompt as it was rendered."""
    scores: Sequence[ScoreRow]
    judgements: Sequence[Judgement]


@dataclass(frozen=True)
class Recorded:
    """A run's records."""

    manifest: Manifest
    cells: Iterable[StoredCell] = field(repr=False)
    """Those that were asked, the cells of a case together; they can be gone through again."""
    verdict: VerdictRecord
    cases: Mapping[tuple[str, str], Case] = field(repr=False, default_factory=dict)
    """(suite, case id) → case."""
    prompts: Mapping[tuple[str, str, str], Prompt] = field(repr=False, default_factory=dict)
    """(suite, case id, arm) → the prompt as it was rendered."""
    scores: Sequence[ScoreRow] = field(repr=False, default=())
    judgements: Sequence[Judgement] = field(repr=False, default=())
    """In any order; each is read when its case is come to."""

    @cached_property
    def suites(self) -> Mapping[str, SuiteRecord]:
        """Name → suite."""
        return {suite.name: suite for suite in self.manifest.suites}

    @cached_property
    def begun(self) -> float:
        """Unix time at which the run was started, for what has no time of its own."""
        return datetime.datetime.fromisoformat(self.manifest.created).timestamp()

    def by_case(self) -> Iterator[CaseRecord]:
        """Yield the records of each case, in the order of the cells."""
        arms = tuple(dict.fromkeys(cell.arm for cell in self.manifest.plan))
        scored = _places((row.suite, row.case) for row in self.scores)
        judged = _places((line.suite, line.case) for line in self.judgements)
        for place, found in groupby(self.cells, key=lambda c: (c.cell.suite, c.cell.case)):
            suite, case = place
            rendered = ((arm, self.prompts.get((suite, case, arm))) for arm in arms)
            yield CaseRecord(
                suite=self.suites[suite],
                id=case,
                case=self.cases.get(place),
                cells=tuple(found),
                prompts={arm: prompt for arm, prompt in rendered if prompt is not None},
                scores=[self.scores[at] for at in scored.get(place, ())],
                judgements=[self.judgements[at] for at in judged.get(place, ())],
            )

    def start(self, stored: StoredCell) -> int:
        """Return when a cell was begun, in nanoseconds; recorded answers have no time, so then."""
        return nano(stored.started_s or self.begun)

    def end(self, stored: StoredCell) -> int:
        """Return when a cell was done, in nanoseconds."""
        latency = stored.completion.latency_s if stored.completion else None
        return nano((stored.started_s or self.begun) + (latency or 0.0))


def nano(seconds: float) -> int:
    """Return a Unix time in nanoseconds, of which a float holds no more than microseconds."""
    return round(seconds * _MICRO) * 1000


def _places(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
    """Return (suite, case) → where its records stand."""
    found: dict[tuple[str, str], list[int]] = {}
    for at, name in enumerate(names):
        found.setdefault(name, []).append(at)
    return found
