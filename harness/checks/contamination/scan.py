"""Scan of training rows: n-grams, whole turns and short prompts of the cases that occur in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from tunegate.harness.checks.contamination.index import CaseIndex
from tunegate.harness.checks.contamination.ngrams import (
    GAP,
    N,
    WordVocabulary,
    concatenate_texts,
    hash_ngrams,
)
from tunegate.harness.checks.contamination.text import split_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 1_000
"""Training rows that are compared together, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class TrainingText:
    """One training row."""

    where: str
    """File and line."""
    texts: tuple[str, ...]
    """All its texts."""


@dataclass(slots=True)
class NgramMatches:
    """Own runs of cases in a batch of rows: one entry for each pair of positions."""

    row: NDArray[np.int64]
    """Number of the row within the batch."""
    at: NDArray[np.int64]
    """Position in the rows' texts."""
    place: NDArray[np.int64]
    """Position in the cases' texts."""


def scan_rows(index: CaseIndex, rows: Iterable[TrainingText]) -> int:
    """Fill in the overlap of each case with the rows; return the number of rows."""
    import numpy as np

    seen = np.zeros(len(index.case_at), bool)
    count = 0
    stream = iter(rows)
    reader = _RowTokenizer(index.vocabulary)
    while batch := list(islice(stream, BATCH)):
        count += len(batch)
        numbered = [[reader.read(text) for text in row.texts] for row in batch]
        _record_whole_prompts(index, batch, numbered)
        texts = [text for row in numbered for text in row]
        row_of = np.repeat(np.arange(len(batch)), [len(row) for row in numbered])
        ids, text_at = concatenate_texts(texts)
        if not len(ids):
            continue
        row_at = row_of[text_at]
        hits = _hits(index, ids, row_at)
        seen[hits.place] = True
        _record_longest(index, batch, hits)
        _record_most_runs(index, batch, hits)
        _record_short(index, batch, numbered, ids, row_at)
    for case, times in enumerate(np.bincount(index.case_at[seen], minlength=len(index.texts))):
        index.overlaps[case].seen = int(times)
    return count


class _RowTokenizer:
    """Reads texts as numbers of words; caches texts that many rows repeat."""

    def __init__(self, vocabulary: WordVocabulary) -> None:
        self.read = lru_cache(maxsize=256)(lambda text: tuple(vocabulary.read(split_words(text))))


def _hits(index: CaseIndex, ids: NDArray[np.int64], row_at: NDArray[np.int64]) -> NgramMatches:
    import numpy as np

    hashes, valid = hash_ngrams(ids, N)
    at = np.flatnonzero(valid)
    left = np.searchsorted(index.runs, hashes[at], "left")
    counts = np.searchsorted(index.runs, hashes[at], "right") - left
    at, left, counts = at[counts > 0], left[counts > 0], counts[counts > 0]
    at = np.repeat(at, counts)
    within = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    return NgramMatches(row_at[at], at, index.places[np.repeat(left, counts) + within])


def _record_longest(index: CaseIndex, batch: Sequence[TrainingText], hits: NgramMatches) -> None:
    """Record the longest run of words that each case shares with a text of the rows."""
    import numpy as np

    if not len(hits.at):
        return
    shift = hits.at - hits.place
    order = np.lexsort((hits.at, shift))
    at, shift = hits.at[order], shift[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(shift) != 0) | (np.diff(at) != 1)])
    lengths = np.diff(np.r_[starts, len(at)]) + N - 1
    cases, rows = index.case_at[hits.place[order][starts]], hits.row[order][starts]
    for i in np.lexsort((rows, -lengths)):  # the longest first, and the first row among equals
        overlap = index.overlaps[cases[i]]
        if lengths[i] > overlap.longest:
            overlap.longest, overlap.longest_at = int(lengths[i]), batch[rows[i]].where


def _record_most_runs(index: CaseIndex, batch: Sequence[TrainingText], hits: NgramMatches) -> None:
    import numpy as np

    size = max(1, len(index.case_at))
    row_places = np.unique(hits.row * size + hits.place)
    rows, cases = row_places // size, index.case_at[row_places % size]
    pairs, counts = np.unique(rows * len(index.texts) + cases, return_counts=True)
    for pair, count in zip(pairs, counts, strict=True):
        row, case = divmod(int(pair), len(index.texts))
        if count > index.overlaps[case].in_one:
            index.overlaps[case].in_one = int(count)
            index.overlaps[case].one_at = batch[row].where


def _record_whole_prompts(
    index: CaseIndex, batch: Sequence[TrainingText], numbered: Sequence[Sequence[Any]]
) -> None:
    """Record the rows whose turns hold a case's whole prompt, turn by turn."""
    for row, texts in zip(batch, numbered, strict=True):
        # A text with a word that no case has cannot be a turn of a case.
        known_turns = {
            " ".join(split_words(text))
            for text, ids in zip(row.texts, texts, strict=True)
            if ids and GAP not in ids
        }
        for case in {case for text in known_turns for case in index.turns.get(text, ())}:
            overlap = index.overlaps[case]
            turns = {" ".join(piece) for piece in index.texts[case].prompt}
            if not overlap.exact_at and turns <= known_turns:
                overlap.exact_at = row.where


def _record_short(
    index: CaseIndex,
    batch: Sequence[TrainingText],
    numbered: Sequence[Sequence[Any]],
    ids: NDArray[np.int64],
    row_at: NDArray[np.int64],
) -> None:
    """Record the rows that hold a short prompt within a text, and its answer in any text."""
    import numpy as np

    wanted = np.array(sorted(index.short), np.uint64)
    for length in index.lengths:
        hashes, valid = hash_ngrams(ids, length)
        for at in np.flatnonzero(valid & np.isin(hashes, wanted)):
            row = int(row_at[at])
            for case in index.short[int(hashes[at])]:
                overlap = index.overlaps[case]
                if not overlap.answered_at and _holds_answer(index, case, numbered[row]):
                    overlap.answered_at = batch[row].where


def _holds_answer(index: CaseIndex, case: int, texts: Iterable[Sequence[int]]) -> bool:
    answers = [index.vocabulary.read(piece) for piece in index.texts[case].right]
    return any(_within(answer, text) for text in texts for answer in answers)


def _within(part: Sequence[int], text: Sequence[int]) -> bool:
    spots: Iterator[int] = (i for i in range(len(text) - len(part) + 1) if text[i] == part[0])
    return any(list(text[i : i + len(part)]) == list(part) for i in spots)
