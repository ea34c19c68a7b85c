"""Templates: text that many cases of a suite share, so it proves nothing about any one of them.

A run of eight words in more than two unrelated cases is a template: a system text in the prompt,
few-shot examples, a form that was filled in. So are the opening and closing words of half of the
suite (`Question: … Answer:`). Cases of one cluster count once: the passage they share is theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunegate.harness.checks.contamination.ngrams import N
from tunegate.harness.checks.contamination.text import CaseText, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHARED_BY = 2
"""Unrelated cases that may share a run of N words before it counts as a template."""
_HALF = 0.5
"""Share of a suite's cases whose common opening or closing words are a template."""


def trim_boilerplate(
    texts: Sequence[CaseText],
) -> list[tuple[tuple[Words, ...], tuple[Words, ...]]]:
    """Return each case's prompt and answers without common opening and closing words."""
    units = len({text.unit for text in texts})
    enough = max(SHARED_BY + 1, _HALF * units)
    sides = []
    for side in ([text.prompt for text in texts], [text.answer for text in texts]):
        pieces = [
            (texts[i].unit, i, piece) for i, text_pieces in enumerate(side) for piece in text_pieces
        ]
        cut = _drop_common(pieces, enough, step=-1)
        by_case: list[list[Words]] = [[] for _ in texts]
        for _, i, piece in _drop_common(cut, enough, step=1):
            by_case[i].append(piece)
        sides.append([tuple(piece for piece in text_pieces if piece) for text_pieces in by_case])
    return list(zip(*sides, strict=True))


def _drop_common(
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
    """Return the positions of runs that more than `SHARED_BY` units hold, as a mask.

    `hashes` and `valid` come from `hash_ngrams`; `units` is the number of each position's unit.
    """
    import numpy as np

    places = np.flatnonzero(valid)
    order = np.lexsort((units[places], hashes[places]))
    places = places[order]
    new_run = np.diff(hashes[places], prepend=hashes[places][:1]) != 0
    new_unit = new_run | (np.diff(units[places], prepend=units[places][:1]) != 0)
    group = np.cumsum(new_run)
    holders = 1 + np.bincount(group, weights=new_unit & ~new_run).astype(np.int64)
    is_shared = np.zeros_like(valid)
    is_shared[places[holders[group] > SHARED_BY]] = True
    return is_shared


def mark_covered(starts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which positions lie within a run of N words that starts at one of `starts`."""
    import numpy as np

    covered = np.zeros_like(starts)
    for k in range(min(N, len(starts))):
        covered[k:] |= starts[: len(starts) - k]
    return covered
