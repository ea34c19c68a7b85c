"""Inverted index of n-grams of the cases of all suites, looked up while training rows stream by.

The cases are indexed and the rows stream by, so memory grows with the suites and not with the
training data. Everything is exact: there is no sampling and no sketch.

What is a case's own: its words without the templates that many cases of a suite share. A run of
eight words that occurs in more than two unrelated cases is no sign of any one of them: a
system text in the prompt, few-shot examples, a form that was filled in. Nor are opening and closing
words that half of the suite begins or ends with (`Question: … Answer:`). Cases of one cluster count
once: the passage they share is theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunegate.harness.checks.contamination.text import CaseText, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GAP = 0
"""Stands between two texts, and for words that no case has: no run holds it."""


@dataclass
class WordVocabulary:
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


def hash_ngrams(ids: NDArray[np.int64], n: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the 64-bit hash of the `n` words from each position on, and whether it is a run.

    A position is none where a gap follows within `n` words. Among a million runs of cases and ten
    million of training rows, one pair in two million checks shares a hash by accident.
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


def trim_boilerplate(
    texts: Sequence[CaseText],
) -> list[tuple[tuple[Words, ...], tuple[Words, ...]]]:
    """Return each case's prompt and answers without the opening and closing words of half of them.

    Args:
        texts: The cases of one suite.
    """
    units = len({text.unit for text in texts})
    enough = max(SHARED_BY + 1, _HALF * units)
    sides = []
    for side in ([text.prompt for text in texts], [text.answer for text in texts]):
        pieces = [(texts[i].unit, i, piece) for i, own in enumerate(side) for piece in own]
        cut = _drop_common(pieces, enough, step=-1)
        made: list[list[Words]] = [[] for _ in texts]
        for _, i, piece in _drop_common(cut, enough, step=1):
            made[i].append(piece)
        sides.append([tuple(piece for piece in own if piece) for own in made])
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
    """Return at which positions a run begins that more than `SHARED_BY` units hold.

    Args:
        hashes: Hash of the N words from each position on, of one suite's cases.
        valid: Whether these words are within one text.
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


def mark_covered(starts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which positions are within a run of N words that begins at one of `starts`."""
    import numpy as np

    found = np.zeros_like(starts)
    for k in range(min(N, len(starts))):
        found[k:] |= starts[: len(starts) - k]
    return found


_REPEATS = 64
"""Places of a run within one case that are followed: a case of one word over and over has more."""
SHORT = range(4, N)
"""Lengths of a whole prompt that is too short to hold a run, and long enough to be looked for."""


@dataclass(slots=True)
class CaseOverlap:
    """The overlap of training rows with one case."""

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
    overlaps: Sequence[CaseOverlap]
    """One a case, filled in by the pass over the rows."""
    vocabulary: WordVocabulary
    runs: NDArray[np.uint64] = field(repr=False)
    """Sorted hash of every run that is a case's own."""
    places: NDArray[np.int64] = field(repr=False)
    """Where it begins, likewise; the texts of all cases are joined end to end."""
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
    found: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        for piece in text.prompt:
            vocabulary.learn(piece)
            found[" ".join(piece)].append(i)
        for piece in text.right:
            vocabulary.learn(piece)
    return dict(found)


@dataclass
class _SuiteCases:
    """One suite's cases."""

    overlaps: list[CaseOverlap]
    hashes: NDArray[np.uint64]
    own: NDArray[np.bool_]
    """At which places a run begins that is a case's own, and is followed."""
    case_at: NDArray[np.int64]
    short: list[tuple[int, int]]
    """(hash, case) of the prompts that are looked for whole."""
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
        # A run is a case's own if none of its words belongs to a template.
        kept = np.where(template, GAP, ids)
        own = hash_ngrams(kept, N)[1]
        words = np.bincount(case_at[kept != GAP], minlength=len(texts))
        runs = np.bincount(case_at[own], minlength=len(texts))
        overlaps = [CaseOverlap(int(w), int(r)) for w, r in zip(words, runs, strict=True)]
        short = list(_short(texts, cut, overlaps))
        return cls(
            overlaps,
            hashes,
            own & _limit_repeats(hashes, own, case_at),
            case_at,
            [(_key(vocabulary, prompt), i) for prompt, i in short],
            {len(prompt) for prompt, _ in short},
        )


def _limit_repeats(
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
    overlaps: Sequence[CaseOverlap],
) -> Iterator[tuple[Words, int]]:
    """Yield the prompts, with their case, that hold no run and have an answer to search for.

    A prompt that more than `SHARED_BY` units ask is a template. Where too little is left of it
    without the words that half of the suite opens or closes with, the whole of it is searched for.
    """
    asked = [
        next((one for one in turns if len(one) == 1 and len(one[0]) in SHORT), None)
        for text, (prompt, _) in zip(texts, cut, strict=True)
        for turns in [(prompt, text.prompt)]
    ]
    units = defaultdict(set)
    for text, turn in zip(texts, asked, strict=True):
        units[turn].add(text.unit)
    for i, (text, turn) in enumerate(zip(texts, asked, strict=True)):
        if turn is None or len(units[turn]) > SHARED_BY:
            continue
        if text.right and not overlaps[i].runs:
            yield turn[0], i


def _key(vocabulary: WordVocabulary, prompt: Words) -> int:
    import numpy as np

    return int(hash_ngrams(np.array(vocabulary.learn(prompt), np.int64), len(prompt))[0][0])
