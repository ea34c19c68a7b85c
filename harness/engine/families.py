"""Which prompts to compute together so that what they share is computed once.

The questions of one MMLU subject begin with the same few-shot examples, those of another with
others; in one batch of both, nothing would be shared. In lexicographic order relatives are
neighbours, and a walk along it decides at each prompt whether joining the family before it costs
fewer tokens than beginning a new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

Q = TypeVar("Q")

FORWARD = 256
"""Tokens whose computation a further forward costs on top of its own."""


def families(members: Sequence[Q], prompts: Mapping[Q, Sequence[int]]) -> list[list[Q]]:
    """Split questions into families whose prompts share their beginning.

    Args:
        members: The questions.
        prompts: Question → token ids of its prompt.
    """
    ordered = sorted(members, key=lambda q: tuple(prompts[q]))
    found: list[list[Q]] = []
    shared = total = 0
    for q in ordered:
        ids = prompts[q]
        common = _common(prompts[found[-1][0]], ids, limit=shared) if found else 0
        rows = len(found[-1]) if found else 0
        # Tokens of the family as it is, and of it with this prompt: the shared part only once.
        apart = shared + (total - rows * shared) + FORWARD + len(ids)
        together = common + (total + len(ids) - (rows + 1) * common)
        if found and together <= apart:
            found[-1].append(q)
            shared, total = common, total + len(ids)
        else:
            found.append([q])
            shared, total = len(ids), len(ids)
    return found


def _common(first: Sequence[int], other: Sequence[int], *, limit: int) -> int:
    """Return how many tokens two prompts begin with, at most `limit`."""
    end = min(limit, len(first), len(other))
    return next((i for i in range(end) if first[i] != other[i]), end)
