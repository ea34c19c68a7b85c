"""Batches under a token budget: questions of one kind and of like length together.

Decoding is bound by overhead and memory traffic, so wide batches of short questions win; the
budget bounds memory. Sorting by length keeps padding small. The order is deterministic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from harness.engine.families import families
from harness.records import CellKind

TOKEN_BUDGET = 8192
"""Tokens of a batch: rows × (longest prompt + longest answer)."""
ROW_LIMIT = 48
"""Rows of a batch; more adds memory and little speed on two cores."""


class HasKind(Protocol):
    """Anything asked in one way."""

    @property
    def suite(self) -> str:
        """Suite the question belongs to."""

    @property
    def kind(self) -> CellKind:
        """The way it is asked."""


Q = TypeVar("Q", bound=HasKind)


@dataclass(frozen=True, slots=True)
class Batch(Generic[Q]):
    """Questions that are computed together, by every arm alike."""

    kind: CellKind
    questions: tuple[Q, ...]
    stage: int = 0
    """Batches run stage by stage; a suite may be decided between two of them."""

    def halves(self) -> tuple[Batch[Q], Batch[Q]]:
        """Return the batch in two, for a machine whose memory did not hold it."""
        middle = len(self.questions) // 2
        first, second = self.questions[:middle], self.questions[middle:]
        return Batch(self.kind, first, self.stage), Batch(self.kind, second, self.stage)


def make_batches(
    lengths: Mapping[Q, int],
    stages: Mapping[Q, int] = MappingProxyType({}),
    prompts: Mapping[Q, Sequence[int]] = MappingProxyType({}),
) -> tuple[Batch[Q], ...]:
    """Group questions by kind, longest first, under the token budget.

    Longest first, so that memory that will not do shows at once and the time left is never
    underestimated. Timed questions get batches of one. Questions that are only read, not answered,
    are grouped by the prefix that they share, which is then computed once a batch.

    Args:
        lengths: Question → tokens of prompt and answer.
        stages: Question → its stage, where its suite is looked at while it runs; such suites share
            no batch with others, so that they can end without them.
        prompts: Question → token ids of its prompt, where they are known.
    """
    batches: list[Batch[Q]] = []
    groups: dict[tuple[int, str, CellKind], list[Q]] = {}
    for question in lengths:
        alone = question.kind is not CellKind.GENERATE or question in stages
        group = question.suite if alone else ""
        groups.setdefault((stages.get(question, 0), group, question.kind), []).append(question)
    for (stage, _, kind), members in sorted(groups.items(), key=lambda item: item[0][0]):
        read = kind in (CellKind.CHOICES, CellKind.ANSWER) and all(q in prompts for q in members)
        for family in families(members, prompts) if read else [members]:
            ordered = sorted(family, key=lambda q: -lengths[q])
            batches += [Batch(kind, tuple(rows), stage) for rows in _rows(ordered, lengths, kind)]
    return tuple(batches)


def _rows(ordered: list[Q], lengths: Mapping[Q, int], kind: CellKind) -> Iterator[list[Q]]:
    limit = 1 if kind is CellKind.LATENCY else ROW_LIMIT
    batch: list[Q] = []
    for question in ordered:
        longest = lengths[batch[0]] if batch else lengths[question]
        if batch and (len(batch) >= limit or longest * (len(batch) + 1) > TOKEN_BUDGET):
            yield batch
            batch = []
        batch.append(question)
    if batch:
        yield batch
