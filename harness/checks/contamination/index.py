"""Inverted index of the n-grams of all cases, looked up while training rows stream by.

Memory grows with the suites and not with the training data. Everything is exact: there is no
sampling and no sketch. Words of a case are its own if they belong to no template.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunegate.harness.checks.contamination.ngrams import (
    GAP,
    N,
    WordVocabulary,
    concatenate_texts,
    hash_ngrams,
)
from tunegate.harness.checks.contamination.templates import (
    SHARED_BY,
    mark_covered,
    shared_runs,
    trim_boilerplate,
)
from tunegate.harness.checks.contamination.text import CaseText, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REPEATS = 64
"""Most positions of one run in one case; a case that repeats one word has more."""
SHORT = range(4, N)
"""Lengths of prompts that are too short for a run and long enough to search for."""


@dataclass(slots=True)
class CaseOverlap:
    """The overlap of training rows with one case."""

    words: int
    """The case's own words."""
    runs: int
    """Runs of N words among them."""
    seen: int = 0
    """Runs that some row holds."""
    in_one: int = 0
    """Most runs that one row holds."""
    one_at: str = ""
    """That row."""
    longest: int = 0
    """Words in a row of the longest common run; 0 if it is shorter than N."""
    longest_at: str = ""
    """Its row."""
    exact_at: str = ""
    """A row whose turns hold the case's whole prompt, or empty."""
    answered_at: str = ""
    """A row that holds the short prompt within a text, and the right answer."""


@dataclass
class CaseIndex:
    """The cases of several suites."""

    texts: Sequence[CaseText]
    """All cases, one suite after the other."""
    overlaps: Sequence[CaseOverlap]
    """One for each case, filled in by `scan_rows`."""
    vocabulary: WordVocabulary
    runs: NDArray[np.uint64] = field(repr=False)
    """Sorted hashes of the cases' own runs."""
    places: NDArray[np.int64] = field(repr=False)
    """Position of each run in the joined texts of all cases."""
    case_at: NDArray[np.int64] = field(repr=False)
    """Position → number of the case."""
    turns: dict[str, list[int]] = field(repr=False)
    """Turn of a prompt → the cases that have it."""
    short: dict[int, list[int]] = field(repr=False)
    """Hash of a short prompt → its cases."""
    lengths: tuple[int, ...] = ()
    """Numbers of words of the short prompts."""

    @classmethod
    def of(cls, suites: Sequence[Sequence[CaseText]]) -> CaseIndex:
        """Index the cases of suites, each with its own templates."""
        import numpy as np

        vocabulary = WordVocabulary()
        parts = [_SuiteCases.of(texts, vocabulary) for texts in suites]
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


def _turns(texts: Sequence[CaseText], vocabulary: WordVocabulary) -> dict[str, list[int]]:
    turns: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        for piece in text.prompt:
            vocabulary.learn(piece)
            turns[" ".join(piece)].append(i)
        for piece in text.right:
            vocabulary.learn(piece)
    return dict(turns)


@dataclass
class _SuiteCases:
    overlaps: list[CaseOverlap]
    hashes: NDArray[np.uint64]
    own: NDArray[np.bool_]
    """Positions of the cases' own runs, at most `_REPEATS` of each."""
    case_at: NDArray[np.int64]
    short: list[tuple[int, int]]
    """(hash, case) of the prompts that are searched for whole."""
    lengths: set[int]

    @classmethod
    def of(cls, texts: Sequence[CaseText], vocabulary: WordVocabulary) -> _SuiteCases:
        import numpy as np

        cut = trim_boilerplate(texts)
        pieces = [(i, piece) for i, sides in enumerate(cut) for side in sides for piece in side]
        ids, piece_at = concatenate_texts([vocabulary.learn(piece) for _, piece in pieces])
        case_at = np.array([i for i, _ in pieces], np.int64)[piece_at]
        names: dict[str, int] = {}
        units = np.array([names.setdefault(t.unit, len(names)) for t in texts], np.int64)
        hashes, valid = hash_ngrams(ids, N)
        template = mark_covered(shared_runs(hashes, valid, units[case_at]))
        # A run is a case's own if no word of it belongs to a template.
        kept = np.where(template, GAP, ids)
        is_own = hash_ngrams(kept, N)[1]
        words = np.bincount(case_at[kept != GAP], minlength=len(texts))
        runs = np.bincount(case_at[is_own], minlength=len(texts))
        overlaps = [CaseOverlap(int(w), int(r)) for w, r in zip(words, runs, strict=True)]
        short = list(_short(texts, cut, overlaps))
        return cls(
            overlaps,
            hashes,
            is_own & _limit_repeats(hashes, is_own, case_at),
            case_at,
            [(_key(vocabulary, prompt), i) for prompt, i in short],
            {len(prompt) for prompt, _ in short},
        )


def _limit_repeats(
    hashes: NDArray[np.uint64], is_own: NDArray[np.bool_], case_at: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return the first `_REPEATS` positions of each run in each case, as a mask."""
    import numpy as np

    places = np.flatnonzero(is_own)
    order = np.lexsort((places, case_at[places], hashes[places]))
    ranked = places[order]
    new = np.ones(len(ranked), bool)
    new[1:] = (hashes[ranked][1:] != hashes[ranked][:-1]) | (
        case_at[ranked][1:] != case_at[ranked][:-1]
    )
    first = np.maximum.accumulate(np.where(new, np.arange(len(ranked)), 0))
    kept = np.zeros_like(is_own)
    kept[ranked[np.arange(len(ranked)) - first < _REPEATS]] = True
    return kept


def _short(
    texts: Sequence[CaseText],
    cut: Sequence[tuple[tuple[Words, ...], tuple[Words, ...]]],
    overlaps: Sequence[CaseOverlap],
) -> Iterator[tuple[Words, int]]:
    """Yield the prompts without a run, with their case, that have an answer to search for.

    A prompt that more than `SHARED_BY` units ask is a template. If trimming leaves too little of a
    prompt, the whole of it is searched for.
    """
    questions = [
        next(
            (
                turn_words
                for turn_words in turns
                if len(turn_words) == 1 and len(turn_words[0]) in SHORT
            ),
            None,
        )
        for text, (prompt, _) in zip(texts, cut, strict=True)
        for turns in [(prompt, text.prompt)]
    ]
    units = defaultdict(set)
    for text, turn in zip(texts, questions, strict=True):
        units[turn].add(text.unit)
    for i, (text, turn) in enumerate(zip(texts, questions, strict=True)):
        if turn is None or len(units[turn]) > SHARED_BY:
            continue
        if text.right and not overlaps[i].runs:
            yield turn[0], i


def _key(vocabulary: WordVocabulary, prompt: Words) -> int:
    import numpy as np

    return int(hash_ngrams(np.array(vocabulary.learn(prompt), np.int64), len(prompt))[0][0])
