"""Inverted index of the cases of all suites, looked up while training rows stream by.

The cases are indexed and the rows stream by, so memory grows with the suites and not with the
training data. Everything is exact: there is no sampling and no sketch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunegate.harness.checks.contamination.ngrams import (
    GAP,
    SHARED_BY,
    N,
    Vocabulary,
    covered,
    hashed,
    laid,
    shared_runs,
    trimmed,
)
from tunegate.harness.checks.contamination.text import CaseText, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REPEATS = 64
"""Places of a run within one case that are followed: a case of one word over and over has more."""
SHORT = range(4, N)
"""Lengths of a whole prompt that is too short to hold a run, and long enough to be looked for."""


@dataclass(slots=True)
class Overlap:
    """What training rows and one case have in common."""

    words: int
    """Words of the case that are its own."""
    runs: int
    """Runs of N words among them."""
    seen: int = 0
    """Of these runs, those that some row holds."""
    in_one: int = 0
    """Those that the row with the most of them holds."""
    one_at: str = ""
    """Where that row is."""
    longest: int = 0
    """Words in a row of the longest common run; 0 if it is shorter than N."""
    longest_at: str = ""
    """Where it is in the training rows."""
    exact_at: str = ""
    """Where a row is whose turns hold the case's whole prompt; empty if there is none."""
    answered_at: str = ""
    """Where a row is that holds the short prompt within a text, and the right answer."""


@dataclass
class CaseIndex:
    """The cases of several suites."""

    texts: Sequence[CaseText]
    """All cases, one suite after the other."""
    overlaps: Sequence[Overlap]
    """One a case, filled in by the pass over the rows."""
    vocabulary: Vocabulary
    runs: NDArray[np.uint64] = field(repr=False)
    """Sorted hash of every run that is a case's own."""
    places: NDArray[np.int64] = field(repr=False)
    """Where it begins, likewise; the texts of all cases lie end to end."""
    case_at: NDArray[np.int64] = field(repr=False)
    """Place → number of the case."""
    turns: dict[str, list[int]] = field(repr=False)
    """Turn of a prompt → the cases that have it."""
    short: dict[int, list[int]] = field(repr=False)
    """Hash of a short prompt → its cases."""
    lengths: tuple[int, ...] = ()
    """How many words short prompts have."""

    @classmethod
    def of(cls, suites: Sequence[Sequence[CaseText]]) -> CaseIndex:
        """Index the cases of suites: what is a template in one is none in another."""
        import numpy as np

        vocabulary = Vocabulary()
        parts = [_Part.of(texts, vocabulary) for texts in suites]
        starts = np.cumsum([0, *(len(part.case_at) for part in parts)])
        firsts = np.cumsum([0, *(len(texts) for texts in suites)])
        runs = [p.hashes[p.own] for p in parts]
        places = [np.flatnonzero(p.own) + at for p, at in zip(parts, starts, strict=False)]
        case_at = [p.case_at + at for p, at in zip(parts, firsts, strict=False)]
        flat = [text for texts in suites for text in texts]
        short: dict[int, list[int]] = defaultdict(list)
        for part, first in zip(parts, firsts, strict=False):
            for key, i in part.short:
                short[key].append(int(first) + i)
        everything = np.concatenate([np.zeros(0, np.uint64), *runs])
        order = np.argsort(everything, kind="stable")
        return cls(
            texts=flat,
            overlaps=[overlap for part in parts for overlap in part.overlaps],
            vocabulary=vocabulary,
            runs=everything[order],
            places=np.concatenate([np.zeros(0, np.int64), *places])[order],
            case_at=np.concatenate([np.zeros(0, np.int64), *case_at]),
            turns=_turns(flat, vocabulary),
            short=dict(short),
            lengths=tuple(sorted({n for part in parts for n in part.lengths})),
        )


def _turns(texts: Sequence[CaseText], vocabulary: Vocabulary) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        for piece in text.prompt:
            vocabulary.learn(piece)
            found[" ".join(piece)].append(i)
        for piece in text.right:
            vocabulary.learn(piece)
    return dict(found)


@dataclass
class _Part:
    """One suite's cases."""

    overlaps: list[Overlap]
    hashes: NDArray[np.uint64]
    own: NDArray[np.bool_]
    """At which places a run begins that is a case's own, and is followed."""
    case_at: NDArray[np.int64]
    short: list[tuple[int, int]]
    """(hash, case) of the prompts that are looked for whole."""
    lengths: set[int]

    @classmethod
    def of(cls, texts: Sequence[CaseText], vocabulary: Vocabulary) -> _Part:
        import numpy as np

        cut = trimmed(texts)
        pieces = [(i, piece) for i, sides in enumerate(cut) for side in sides for piece in side]
        ids, piece_at = laid([vocabulary.learn(piece) for _, piece in pieces])
        case_at = np.array([i for i, _ in pieces], np.int64)[piece_at]
        names: dict[str, int] = {}
        units = np.array([names.setdefault(t.unit, len(names)) for t in texts], np.int64)
        hashes, valid = hashed(ids, N)
        template = covered(shared_runs(hashes, valid, units[case_at]))
        # A run is a case's own if none of its words belongs to a template.
        kept = np.where(template, GAP, ids)
        own = hashed(kept, N)[1]
        words = np.bincount(case_at[kept != GAP], minlength=len(texts))
        runs = np.bincount(case_at[own], minlength=len(texts))
        overlaps = [Overlap(int(w), int(r)) for w, r in zip(words, runs, strict=True)]
        short = list(_short(texts, cut, overlaps))
        return cls(
            overlaps,
            hashes,
            own & _followed(hashes, own, case_at),
            case_at,
            [(_key(vocabulary, prompt), i) for prompt, i in short],
            {len(prompt) for prompt, _ in short},
        )


def _followed(
    hashes: NDArray[np.uint64], own: NDArray[np.bool_], case_at: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return the places of own runs without those beyond `_REPEATS` of one run in one case."""
    import numpy as np

    places = np.flatnonzero(own)
    order = np.lexsort((places, case_at[places], hashes[places]))
    ranked = places[order]
    new = np.ones(len(ranked), bool)
    new[1:] = (hashes[ranked][1:] != hashes[ranked][:-1]) | (
        case_at[ranked][1:] != case_at[ranked][:-1]
    )
    first = np.maximum.accumulate(np.where(new, np.arange(len(ranked)), 0))
    found = np.zeros_like(own)
    found[ranked[np.arange(len(ranked)) - first < _REPEATS]] = True
    return found


def _short(
    texts: Sequence[CaseText],
    cut: Sequence[tuple[tuple[Words, ...], tuple[Words, ...]]],
    overlaps: Sequence[Overlap],
) -> Iterator[tuple[Words, int]]:
    """Yield the prompts, with their case, that hold no run and have an answer to be found beside.

    A prompt that more than `SHARED_BY` units ask is a template.
    """
    units = defaultdict(set)
    for text, (prompt, _) in zip(texts, cut, strict=True):
        units[prompt].add(text.unit)
    for i, (text, (prompt, _)) in enumerate(zip(texts, cut, strict=True)):
        alone = len(prompt) == 1 and len(units[prompt]) <= SHARED_BY
        if alone and text.right and not overlaps[i].runs and len(prompt[0]) in SHORT:
            yield prompt[0], i


def _key(vocabulary: Vocabulary, prompt: Words) -> int:
    import numpy as np

    return int(hashed(np.array(vocabulary.learn(prompt), np.int64), len(prompt))[0][0])
