"""Records of a run by case.

Spans are made from the stored records, so that a resumed or fully cached run has them all. Answers
and judgements may exceed memory: they are read one case at a time.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

from tunegate.harness.contracts.model import Prompt
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.judgements import Judgement
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import VerdictRecord

_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """Everything stored about one case."""

    suite: SuiteRecord
    id: str
    case: Case | None
    """None if the run does not hold it."""
    cells: tuple[StoredAnswer, ...]
    prompts: Mapping[str, Prompt]
    """Arm → the prompt as it was rendered."""
    scores: Sequence[ScoreRow]
    judgements: Sequence[Judgement]


@dataclass(frozen=True)
class RunRecords:
    """A run's records."""

    manifest: Manifest
    cells: Iterable[StoredAnswer] = field(repr=False)
    """Answers, those of a case together; they can be read again."""
    verdict: VerdictRecord
    cases: Mapping[tuple[str, str], Case] = field(repr=False, default_factory=dict)
    """(suite, case id) → case."""
    prompts: Mapping[tuple[str, str, str], Prompt] = field(repr=False, default_factory=dict)
    """(suite, case id, arm) → the prompt as it was rendered."""
    scores: Sequence[ScoreRow] = field(repr=False, default=())
    judgements: Sequence[Judgement] = field(repr=False, default=())
    """In any order; each is read with its case."""

    @cached_property
    def suites(self) -> Mapping[str, SuiteRecord]:
        """Name → suite."""
        return {suite.name: suite for suite in self.manifest.suites}

    @cached_property
    def begun(self) -> float:
        """Unix time of the run's start, for records without a time."""
        return datetime.datetime.fromisoformat(self.manifest.created).timestamp()

    def by_case(self) -> Iterator[CaseRecord]:
        """Yield the records of each case, in the order of the cells."""
        arms = tuple(dict.fromkeys(cell.arm for cell in self.manifest.plan))
        scored = _places((row.suite, row.case) for row in self.scores)
        judged = _places((line.suite, line.case) for line in self.judgements)
        for place, cells in groupby(self.cells, key=lambda c: (c.cell.suite, c.cell.case)):
            suite, case = place
            rendered = ((arm, self.prompts.get((suite, case, arm))) for arm in arms)
            yield CaseRecord(
                suite=self.suites[suite],
                id=case,
                case=self.cases.get(place),
                cells=tuple(cells),
                prompts={arm: prompt for arm, prompt in rendered if prompt is not None},
                scores=[self.scores[at] for at in scored.get(place, ())],
                judgements=[self.judgements[at] for at in judged.get(place, ())],
            )

    def start(self, stored: StoredAnswer) -> int:
        """Return when an answer was begun, in nanoseconds; the run's start for recorded ones."""
        return unix_nanoseconds(stored.started_s or self.begun)

    def end(self, stored: StoredAnswer) -> int:
        """Return when an answer was done, in nanoseconds."""
        latency = stored.completion.latency_s if stored.completion else None
        return unix_nanoseconds((stored.started_s or self.begun) + (latency or 0.0))


def unix_nanoseconds(seconds: float) -> int:
    """Return a Unix time in nanoseconds, rounded to the microseconds that a float holds."""
    return round(seconds * _MICRO) * 1000


def _places(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
    """Return (suite, case) → the place of its records."""
    places: dict[tuple[str, str], list[int]] = {}
    for at, name in enumerate(names):
        places.setdefault(name, []).append(at)
    return places
