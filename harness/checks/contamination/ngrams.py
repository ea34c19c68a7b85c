"""N-grams of numbered words, as 64-bit hashes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

N = 8
"""Words of the runs that are compared.

Source: the share of 8-grams of PaLM (Chowdhery et al. 2022) and Llama 3 (Grattafiori et al. 2024).
"""
GAP = 0
"""Number between two texts, and of words that no case has; no run contains it."""


@dataclass
class WordVocabulary:
    """The words of the cases, numbered from 1."""

    numbers: dict[str, int] = field(default_factory=dict)

    def learn(self, words: Iterable[str]) -> list[int]:
        """Return the numbers of words, with new numbers for new words."""
        numbers = self.numbers
        return [numbers.setdefault(word, len(numbers) + 1) for word in words]

    def read(self, words: Iterable[str]) -> list[int]:
        """Return the numbers of words, `GAP` for those that no case has."""
        get = self.numbers.get
        return [get(word, GAP) for word in words]


def hash_ngrams(ids: NDArray[np.int64], n: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the 64-bit hash of the `n` words at each position, and whether they have no gap.

    With a million runs of cases and ten million of training rows, one check in two million has two
    runs with the same hash.
    """
    import numpy as np

    count = max(0, len(ids) - n + 1)
    mixed = _mix_bits(ids.astype(np.uint64))
    values = np.zeros(len(ids), np.uint64)
    valid = np.zeros(len(ids), bool)
    valid[:count] = True
    for k in range(n):
        factor = _mix_bits(np.array([k + 1], np.uint64))[0] | np.uint64(1)
        values[:count] += mixed[k : k + count] * factor
        valid[:count] &= ids[k : k + count] != GAP
    return _mix_bits(values), valid


def _mix_bits(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the numbers scattered over 64 bits.

    Source: the finalizer of SplitMix64 (Steele, Lea and Flood 2014).
    """
    import numpy as np

    x = values + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def concatenate_texts(
    texts: Sequence[Sequence[int]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return texts end to end with a gap after each, and the text's number at each position."""
    import numpy as np

    flat = [number for text in texts for number in (*text, GAP)]
    lengths = [len(text) + 1 for text in texts]
    return np.array(flat, np.int64), np.repeat(np.arange(len(texts)), lengths)
