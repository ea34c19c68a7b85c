"""Scheduling: batches under a token budget, grouped by shared prefix.

Decoding is bound by overhead and memory traffic, so wide batches of short questions win; the
budget bounds memory. Sorting by length keeps padding small. The order is deterministic.

Prompts that begin alike are put into the same batch, so that the beginning is computed once: the
questions of one MMLU subject start with the same few-shot examples, those of the next with others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from tunegate.harness.contracts.model import Request
from tunegate.harness.records.answers import GENERATED, CellKind

TOKEN_BUDGET = 8192
"""Tokens of a batch: rows × (longest prompt + longest answer)."""
ROW_LIMIT = 48
"""Rows of a batch; more adds memory and little speed on two cores."""
POOL = 128
"""Rows of a batch that is written here, of any length: the engine lets in what memory holds."""
RECORDED_ROWS = 10_000
"""Rows of a batch that is only looked up; each batch is a transaction of the answer cache."""


@dataclass(frozen=True, slots=True)
class PlannedQuestion:
    """A case asked in one way, before an arm is named."""

    suite: str
    case: str
    kind: CellKind
    sample: int = 0


@dataclass(frozen=True, slots=True)
class RequestBatch:
    """Questions that are computed together, by every arm alike."""

    kind: CellKind
    questions: tuple[PlannedQuestion, ...]
    stage: int = 0
    """Batches run stage by stage; a suite may be decided between two of them."""

    def without(self, suites: Collection[str]) -> RequestBatch | None:
        """Return the batch without the questions of some suites; None if nothing is left."""
        kept = tuple(q for q in self.questions if q.suite not in suites)
        return RequestBatch(self.kind, kept, self.stage) if kept else None

    def halves(self) -> tuple[RequestBatch, RequestBatch]:
        """Return the batch in two, for a machine whose memory did not hold it."""
        middle = len(self.questions) // 2
        first, second = self.questions[:middle], self.questions[middle:]
        return RequestBatch(self.kind, first, self.stage), RequestBatch(
            self.kind, second, self.stage
        )


def make_batches(
    lengths: Mapping[PlannedQuestion, int],
    stages: Mapping[PlannedQuestion, int] = MappingProxyType({}),
    prompts: Mapping[PlannedQuestion, Sequence[int]] = MappingProxyType({}),
) -> tuple[RequestBatch, ...]:
    """Group questions by kind, longest first, under the token budget.

    Longest first, so that a lack of memory shows at once and the time left is never
    underestimated. Timed questions get batches of one, in their order. Questions that are only
    read, not answered, are grouped by the prefix that they share, which is then computed once a
    batch.

    Args:
        lengths: Question → tokens of prompt and answer.
        stages: Question → its stage, if its suite has interim looks.
        prompts: Question → token ids of its prompt, where they are known.
    """
    batches: list[RequestBatch] = []
    groups: dict[tuple[int, str, CellKind], list[PlannedQuestion]] = {}
    for question in lengths:
        group = "" if question.kind is CellKind.GENERATE else question.suite
        groups.setdefault((stages.get(question, 0), group, question.kind), []).append(question)
    for (stage, _, kind), members in sorted(groups.items(), key=lambda item: item[0][0]):
        read = kind in (CellKind.CHOICES, CellKind.ANSWER) and all(q in prompts for q in members)
        families = [members]
        if read:
            prefix_groups = prefix_families([prompts[q] for q in members])
            families = [[members[i] for i in family] for family in prefix_groups]
        for family in families:
            # Timed questions keep the order of the cases: neighbours in a run are so in time.
            timed = kind is CellKind.LATENCY
            ordered = family if timed else sorted(family, key=lambda q: -lengths[q])
            here = kind is CellKind.GENERATE and all(q in prompts for q in members)
            rows = _rows(ordered, lengths, kind, here=here)
            batches += [RequestBatch(kind, tuple(questions), stage) for questions in rows]
    return tuple(batches)


def _rows(
    ordered: list[PlannedQuestion],
    lengths: Mapping[PlannedQuestion, int],
    kind: CellKind,
    *,
    here: bool,
) -> Iterator[list[PlannedQuestion]]:
    """Yield the batches; `here` means that a model in this process writes the answers."""
    limits = {CellKind.LATENCY: 1, CellKind.RECORDED: RECORDED_ROWS}
    limit = limits.get(kind, POOL if here else ROW_LIMIT)
    budget = math.inf if here or kind is CellKind.RECORDED else TOKEN_BUDGET
    batch: list[PlannedQuestion] = []
    for question in ordered:
        longest = lengths[batch[0]] if batch else lengths[question]
        if batch and (len(batch) >= limit or longest * (len(batch) + 1) > budget):
            yield batch
            batch = []
        batch.append(question)
    if batch:
        yield batch


FORWARD = 256
"""Tokens whose computation a further forward costs on top of its own."""


def prefix_families(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Sort prompts and cut them into families that share a beginning.

    A cut is where neighbours share less than half of what one of them shares with its other
    neighbour. Families that save less than a forward are put together.
    """
    order = sorted(range(len(prompts)), key=lambda i: tuple(prompts[i]))
    shared = [_common(prompts[i], prompts[j]) for i, j in pairwise(order)]
    families: list[list[int]] = []
    rest: list[int] = []
    start = 0
    for end in range(1, len(order) + 1):
        beside = max(shared[max(0, end - 2) : end + 1], default=0)
        if end < len(order) and shared[end - 1] >= beside / 2:
            continue
        family = order[start:end]
        saved = (len(family) - 1) * min(shared[start : end - 1], default=0)
        if saved > FORWARD:
            families.append(family)
        else:
            rest += family
        start = end
    return [*families, rest] if rest else families


def _common(first: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two prompts begin with."""
    end = min(len(first), len(other))
    return next((i for i in range(end) if first[i] != other[i]), end)


READING = 0.25
"""Cost of reading a token over that of writing one in a wide batch, on a processor. A GPU reads for
less, so that the time left is estimated too long at first."""


def estimate_effort(request: Request) -> float:
    """Return how much work a request is, in tokens that have to be written.

    Texts whose likelihood is asked are only read, like the prompt.
    """
    size = request.prompt.length
    if request.kind in GENERATED:
        if request.episode is not None:
            return request.episode.settings.max_tokens + READING * size
        return request.generation.most_tokens + READING * size
    texts = request.case.choices if request.kind is CellKind.CHOICES else ()
    return 1 + READING * (size + sum(len(text) / 4 for text in texts or ()))
