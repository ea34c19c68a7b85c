"""The word diff of two completions, worked out when the report is written.

Words and punctuation marks are compared; white space travels with the word after it and is never
marked. The work is bounded: rapidfuzz's opcodes over at most `LIMIT` words a side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LIMIT = 2_000
"""Words compared and shown of each side."""

CHARACTERS = 20_000
"""Characters shown of any one text."""

_WIDE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"\s*(?:[{_WIDE}]|(?:(?![{_WIDE}])\w)+|[^\w\s])")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that both sides have, or only one."""

    text: str
    changed: bool


@dataclass(frozen=True, slots=True)
class WordDiff:
    """Both texts in pieces."""

    base: tuple[Piece, ...]
    tuned: tuple[Piece, ...]
    note: str | None = None
    """What a reader must know: a side was cut, or only white space differs."""


def compare(base: str, tuned: str) -> WordDiff:
    """Return both texts in pieces, marked where they differ."""
    left, left_cut = _words(base)
    right, right_cut = _words(tuned)
    marks = _changed([w.strip() for w in left], [w.strip() for w in right])
    sides = _pieces(left, marks[0]), _pieces(right, marks[1])
    note = None
    if left_cut or right_cut:
        note = f"Shown up to {LIMIT:,} words a side; cells.jsonl holds the whole text."
    elif base != tuned and not any(piece.changed for side in sides for piece in side):
        note = "The completions differ in white space only."
    return WordDiff(*sides, note)


def cut(text: str) -> tuple[str, int]:
    """Return the part of a text that is shown, and how many characters are left out."""
    return text[:CHARACTERS], max(0, len(text) - CHARACTERS)


def _words(text: str) -> tuple[list[str], bool]:
    """Return words with the white space before them, and whether the text was cut."""
    shown, missing = cut(text)
    words = _WORD.findall(shown)
    if len(words) > LIMIT:
        return words[:LIMIT], True
    rest = shown[sum(map(len, words)) :]
    return ([*words[:-1], "".join(words[-1:]) + rest] if rest else words), missing > 0


def _changed(left: Sequence[str], right: Sequence[str]) -> tuple[list[bool], list[bool]]:
    """Return for each word of each side whether the other side lacks it there."""
    from rapidfuzz.distance import Indel

    marks = [False] * len(left), [False] * len(right)
    opcodes = list(Indel.opcodes(left, right))
    for at, op in enumerate(opcodes):
        length = op.src_end - op.src_start
        # One common word between two changes is an accident that only breaks up the picture.
        lonely = op.tag == "equal" and length == 1 and 0 < at < len(opcodes) - 1
        if op.tag != "equal" or lonely:
            marks[0][op.src_start : op.src_end] = [True] * length
            marks[1][op.dest_start : op.dest_end] = [True] * (op.dest_end - op.dest_start)
    return marks


def _pieces(words: Sequence[str], marks: Sequence[bool]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    start = 0
    for end in range(1, len(words) + 1):
        if end == len(words) or marks[end] != marks[start]:
            text = "".join(words[start:end])
            space = text[: len(text) - len(text.lstrip())] if marks[start] else ""
            parts = Piece(space, False), Piece(text[len(space) :], marks[start])
            pieces += [part for part in parts if part.text]
            start = end
    return tuple(pieces)
