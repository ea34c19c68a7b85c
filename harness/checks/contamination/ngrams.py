"""N-grams of texts as hashes, and the words of a case that are not part of a template.

What is a case's own: its words without the templates that many cases of a suite share. A run of
eight words that occurs in more than two unrelated cases says nothing about any one of them: a
system text in the prompt, few-shot examples, a form that was filled in. So do opening and closing
words that half of the suite begins or ends with (`Question: … Answer:`). Cases of one cluster count
once: the passage they share is theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunegate.harness.checks.contamination.text import CaseText, Words

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


N = 8
"""Words of the runs that are compared.

Source: the share of 8-grams of PaLM (Chowdhery et al. 2022) and Llama 3 (Grattafiori et al. 2024).
"""
SHARED_BY = 2
"""Unrelated cases that may share a run of N words before it counts as a template."""
_HALF = 0.5
"""Share of a suite's cases whose common opening or closing words are a template."""


def trimmed(texts: Sequence[CaseText]) -> list[tuple[tuple[Words, ...], tuple[Words, ...]]]:
    """Return each case's prompt and answers without the opening and closing words of half of them.

    Args:
        texts: The cases of one suite.
    """
    units = len({text.unit for text in texts})
    enough = max(SHARED_BY + 1, _HALF * units)
    sides = []
    for side in ([text.prompt for text in texts], [text.answer for text in texts]):
        pieces = [(texts[i].unit, i, piece) for i, own in enumerate(side) for piece in own]
        cut = _without(pieces, enough, step=-1)
        made: list[list[Words]] = [[] for _ in texts]
        for _, i, piece in _without(cut, enough, step=1):
            made[i].append(piece)
        sides.append([tuple(piece for piece in own if piece) for own in made])
    return list(zip(*sides, strict=True))


def _without(
    pieces: list[tuple[str, int, Words]], enough: float, *, step: int
) -> list[tuple[str, int, Words]]:
    """Return the pieces without what enough units begin (step 1) or end (step -1) with."""
    cut = [0] * len(pieces)
    going: list[list[int]] = [list(range(len(pieces)))]
    depth = 0
    while going:
        later = []
        for group in going:
            by_word: dict[str, list[int]] = defaultdict(list)
            for p in group:
                words = pieces[p][2]
                if depth < len(words):
                    by_word[words[depth] if step > 0 else words[-1 - depth]].append(p)
            common = (m for m in by_word.values() if len({pieces[p][0] for p in m}) >= enough)
            later += list(common)
        for group in later:
            for p in group:
                cut[p] += 1
        going, depth = later, depth + 1
    return [
        (unit, i, words[n:] if step > 0 else words[: len(words) - n])
        for (unit, i, words), n in zip(pieces, cut, strict=True)
    ]


def shared_runs(
    hashes: NDArray[np.uint64], valid: NDArray[np.bool_], units: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return at which positions a run begins that more than `SHARED_BY` units hold.

    Args:
        hashes: Hash of the N words from each position on, of one suite's cases.
        valid: Whether these words lie within one text.
        units: Number of the unit that each position belongs to.
    """
    import numpy as np

    places = np.flatnonzero(valid)
    order = np.lexsort((units[places], hashes[places]))
    places = places[order]
    new_run = np.diff(hashes[places], prepend=hashes[places][:1]) != 0
    new_unit = new_run | (np.diff(units[places], prepend=units[places][:1]) != 0)
    group = np.cumsum(new_run)
    holders = 1 + np.bincount(group, weights=new_unit & ~new_run).astype(np.int64)
    found = np.zeros_like(valid)
    found[places[holders[group] > SHARED_BY]] = True
    return found


def covered(starts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which positions lie within a run of N words that begins at one of `starts`."""
    import numpy as np

    found = np.zeros_like(starts)
    for k in range(min(N, len(starts))):
        found[k:] |= starts[: len(starts) - k]
    return found
