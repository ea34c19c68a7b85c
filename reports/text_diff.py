"""Differences of two texts, by word for the page and by line for Markdown.

Words and punctuation marks are compared; white space travels with the word after it and is never
marked. Work is bounded: rapidfuzz's opcodes over at most `WORD_LIMIT` words a side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rapidfuzz.distance import Opcodes


@dataclass(frozen=True, slots=True)
class DiffSegment:
    """A stretch of both texts: what base has there, and what tuned has."""

    base: str
    tuned: str
    changed: bool
    """False where the words are the same; the white space between them may differ."""


@dataclass(frozen=True, slots=True)
class WordDiff:
    """Both texts, stretch by stretch: joined, the stretches of a side are its text."""

    segments: tuple[DiffSegment, ...]
    note: str | None = None
    """Note for the reader: a side was cut, or only white space differs."""


WORD_LIMIT = 2_000
"""Words compared and shown of each side."""

CHARACTERS = 20_000
"""Characters shown of any one text."""

_WIDE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"

_WORD = re.compile(rf"\s*(?:[{_WIDE}]|(?:(?![{_WIDE}])\w)+|[^\w\s])")


def compare_texts(base: str, tuned: str) -> WordDiff:
    """Return both texts in stretches, marked where they differ."""
    if base == tuned and len(base) <= WORD_LIMIT:  # which has no more words than characters
        return WordDiff(tuple(_segment(base, tuned, changed=False)))
    left, left_cut = _words(base)
    right, right_cut = _words(tuned)
    segments = tuple(_segments(left, right))
    note = None
    if left_cut or right_cut:
        note = f"Shown up to {WORD_LIMIT:,} words a side; cells.jsonl holds the whole text."
    elif base != tuned and not any(segment.changed for segment in segments):
        note = "The completions differ in white space only."
    return WordDiff(segments, note)


def cut_text(text: str) -> tuple[str, int]:
    """Return the part of a text that is shown, and how many characters are left out."""
    return text[:CHARACTERS], max(0, len(text) - CHARACTERS)


def _words(text: str) -> tuple[list[str], bool]:
    """Return words with the white space before them, and whether the text was cut."""
    shown, missing = cut_text(text)
    # At trailing white space the pattern would start over at every character.
    words = _WORD.findall(shown.rstrip())
    if len(words) > WORD_LIMIT:
        return words[:WORD_LIMIT], True
    rest = shown[sum(map(len, words)) :]
    return ([*words[:-1], "".join(words[-1:]) + rest] if rest else words), missing > 0


def _segments(left: Sequence[str], right: Sequence[str]) -> Iterator[DiffSegment]:
    """Yield the stretches, adjacent ones of the same kind joined."""
    from rapidfuzz.distance import Indel

    opcodes = Indel.opcodes([w.strip() for w in left], [w.strip() for w in right])
    base, tuned, kind = "", "", False
    for changed, words in _mark_changes(opcodes, left, right):
        if changed != kind:
            yield from _segment(base, tuned, changed=kind)
            base, tuned, kind = "", "", changed
        base, tuned = base + words[0], tuned + words[1]
    yield from _segment(base, tuned, changed=kind)


def _mark_changes(
    opcodes: Opcodes, left: Sequence[str], right: Sequence[str]
) -> Iterator[tuple[bool, tuple[str, str]]]:
    """Yield whether each stretch changed, and its text on each side."""
    count = len(opcodes)
    for at, op in enumerate(opcodes):
        # One common word between two changes is an accident that only breaks up the picture.
        lonely = op.src_end - op.src_start == 1 and 0 < at < count - 1
        words = left[op.src_start : op.src_end], right[op.dest_start : op.dest_end]
        yield op.tag != "equal" or lonely, ("".join(words[0]), "".join(words[1]))


def _segment(base: str, tuned: str, *, changed: bool) -> Iterator[DiffSegment]:
    """Yield a stretch; the white space in front of a change is separate and unmarked."""
    before, after = (
        text[: len(text) - len(text.lstrip())] if changed else "" for text in (base, tuned)
    )
    if before or after:
        yield DiffSegment(before, after, changed=False)
    rest = base[len(before) :], tuned[len(after) :]
    if any(rest):
        yield DiffSegment(rest[0], rest[1], changed=changed)


LINE_LIMIT = 60
"""Lines of each side at most."""


def line_diff(base: str, tuned: str) -> str:
    """Return both texts line by line: `-` base only, `+` tuned only, a space for both."""
    from rapidfuzz.distance import Indel

    left, right = _lines(base), _lines(tuned)
    out: list[str] = []
    added: list[str] = []  # kept back, so that what base wrote comes first
    for op in Indel.opcodes(left, right):
        if op.tag == "equal":
            out += added + [f"  {line}" for line in left[op.src_start : op.src_end]]
            added = []
            continue
        out += [f"- {line}" for line in left[op.src_start : op.src_end]]
        added += [f"+ {line}" for line in right[op.dest_start : op.dest_end]]
    return "\n".join(out + added)


def _lines(text: str) -> list[str]:
    lines = text.split("\n") if text else ["(empty)"]
    more = len(lines) - LINE_LIMIT
    return lines if more <= 0 else [*lines[:LINE_LIMIT], f"({more} more lines)"]
