"""Run records by case, with deterministic trace and span ids.

The store is the record and spans are a view of it, so that a resumed or fully cached run has them
all. Cells and judgements may be more than memory holds: they are read one case at a time.

Ids of a run's trace and spans, computed from what they stand for. A run that is resumed, judged
again or sent twice has the same ids: a collector sees the same spans again, not others, and a page
can name a span without reading the file.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

from tunegate.harness.contracts.model import Prompt
from tunegate.harness.records.answers import Cell, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.judgements import Judgement
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import VerdictRecord

_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """All that is stored of one case."""

    suite: SuiteRecord
    id: str
    case: Case | None
    """None where the run does not hold it."""
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
    """Those that were asked, the cells of a case together; they can be read again."""
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

    def start(self, stored: StoredAnswer) -> int:
        """Return when a cell was begun, in nanoseconds; recorded answers have no time, so then."""
        return unix_nanoseconds(stored.started_s or self.begun)

    def end(self, stored: StoredAnswer) -> int:
        """Return when a cell was done, in nanoseconds."""
        latency = stored.completion.latency_s if stored.completion else None
        return unix_nanoseconds((stored.started_s or self.begun) + (latency or 0.0))


def unix_nanoseconds(seconds: float) -> int:
    """Return a Unix time in nanoseconds, of which a float holds no more than microseconds."""
    return round(seconds * _MICRO) * 1000


def _places(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
    """Return (suite, case) → the place of its records."""
    found: dict[tuple[str, str], list[int]] = {}
    for at, name in enumerate(names):
        found.setdefault(name, []).append(at)
    return found


@dataclass(frozen=True, slots=True)
class TraceIdentifiers:
    """The ids within one run."""

    trace_id: str
    """32 hex digits."""

    @classmethod
    def of(cls, manifest: Manifest, plan_sha256: str) -> TraceIdentifiers:
        """Return those of a run: another plan or another start is another trace."""
        return cls(sha256([manifest.run_id, manifest.created, plan_sha256])[:32])

    def span(self, *place: str) -> str:
        """Return the id of what `place` names: 16 hex digits."""
        name = "\0".join((self.trace_id, *place)).encode("utf-8", "surrogatepass")
        return hashlib.sha256(name).hexdigest()[:16]

    def case(self, suite: str, name: str) -> str:
        """Return the id of a case's span."""
        return self.span("case", suite, name)

    def cell(self, cell: Cell) -> str:
        """Return the id of a completion's span."""
        return self.completion(cell.suite, cell.case, cell.arm, cell.kind.value, cell.sample)

    def completion(self, suite: str, case: str, arm: str, kind: str, sample: int) -> str:
        """Return the id of a completion's span by the completion's place in the run."""
        return self.span("cell", suite, case, arm, kind, str(sample))


def plan_sha256(manifest: Manifest) -> str:
    """Return the hash of the plan: the keys of its cells in order."""
    return sha256([cell.key for cell in manifest.plan])
