"""Runs of words as numbers: hashed in one pass over all texts laid end to end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GAP = 0
"""Stands between two texts, and for words that no case has: no run holds it."""


@dataclass
class Vocabulary:
    """The words of the cases, numbered from 1."""

    numbers: dict[str, int] = field(default_factory=dict)

    def learn(self, words: Iterable[str]) -> list[int]:
        """Return the numbers of words, new ones for words not met before."""
        numbers = self.numbers
        return [numbers.setdefault(word, len(numbers) + 1) for word in words]

    def read(self, words: Iterable[str]) -> list[int]:
        """Return the numbers of words, `GAP` for those that no case has."""
        get = self.numbers.get
        return [get(word, GAP) for word in words]


def hashed(ids: NDArray[np.int64], n: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the 64-bit hash of the `n` words from each position on, and whether it is a run.

    A position is none where a gap follows within `n` words. Among a million runs of cases and ten
    million of training rows, one pair in two million checks shares a hash by accident.
    """
    import numpy as np

    count = max(0, len(ids) - n + 1)
    mixed = _mixed(ids.astype(np.uint64))
    values = np.zeros(len(ids), np.uint64)
    valid = np.zeros(len(ids), bool)
    valid[:count] = True
    for k in range(n):
        factor = _mixed(np.array([k + 1], np.uint64))[0] | np.uint64(1)
        values[:count] += mixed[k : k + count] * factor
        valid[:count] &= ids[k : k + count] != GAP
    return _mixed(values), valid


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the numbers scattered over 64 bits.

    Source: the finalizer of SplitMix64 (Steele, Lea and Flood 2014).
    """
    import numpy as np

    x = values + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def laid(texts: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return texts end to end with a gap after each, and the number of each position's text."""
    import numpy as np

    flat = [number for text in texts for number in (*text, GAP)]
    lengths = [len(text) + 1 for text in texts]
    return np.array(flat, np.int64), np.repeat(np.arange(len(texts)), lengths)
