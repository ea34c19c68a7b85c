"""The word diff of two completions, worked out when the report is written.

Words and punctuation marks are compared; white space travels with the word after it and is never
marked. The work is bounded: rapidfuzz's opcodes over at most `LIMIT` words a side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rapidfuzz.distance import Opcodes

LIMIT = 2_000
"""Words compared and shown of each side."""

CHARACTERS = 20_000
"""Characters shown of any one text."""

_WIDE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"\s*(?:[{_WIDE}]|(?:(?![{_WIDE}])\w)+|[^\w\s])")


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of both texts: what base has there, and what tuned has."""

    base: str
    tuned: str
    changed: bool
    """False where the words are the same; the white space between them may differ."""


@dataclass(frozen=True, slots=True)
class WordDiff:
    """Both texts, stretch by stretch: joined, the stretches of a side are its text."""

    segments: tuple[Segment, ...]
    note: str | None = None
    """What a reader must know: a side was cut, or only white space differs."""


def compare(base: str, tuned: str) -> WordDiff:
    """Return both texts in stretches, marked where they differ."""
    left, left_cut = _words(base)
    right, right_cut = _words(tuned)
    segments = tuple(_segments(left, right))
    note = None
    if left_cut or right_cut:
        note = f"Shown up to {LIMIT:,} words a side; cells.jsonl holds the whole text."
    elif base != tuned and not any(segment.changed for segment in segments):
        note = "The completions differ in white space only."
    return WordDiff(segments, note)


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


def _segments(left: Sequence[str], right: Sequence[str]) -> Iterator[Segment]:
    """Yield the stretches, neighbours of one kind joined."""
    from rapidfuzz.distance import Indel

    opcodes = Indel.opcodes([w.strip() for w in left], [w.strip() for w in right])
    base, tuned, kind = "", "", False
    for changed, words in _marked(opcodes, left, right):
        if changed != kind:
            yield from _segment(base, tuned, changed=kind)
            base, tuned, kind = "", "", changed
        base, tuned = base + words[0], tuned + words[1]
    yield from _segment(base, tuned, changed=kind)


def _marked(
    opcodes: Opcodes, left: Sequence[str], right: Sequence[str]
) -> Iterator[tuple[bool, tuple[str, str]]]:
    """Yield whether each stretch changed, and its text on each side."""
    count = len(opcodes)
    for at, op in enumerate(opcodes):
        # One common word between two changes is an accident that only breaks up the picture.
        lonely = op.src_end - op.src_start == 1 and 0 < at < count - 1
        words = left[op.src_start : op.src_end], right[op.dest_start : op.dest_end]
        yield op.tag != "equal" or lonely, ("".join(words[0]), "".join(words[1]))


def _segment(base: str, tuned: str, *, changed: bool) -> Iterator[Segment]:
    """Yield a stretch; the white space in front of a change stands apart, unmarked."""
    before, after = (
        text[: len(text) - len(text.lstrip())] if changed else "" for text in (base, tuned)
    )
    if before or after:
        yield Segment(before, after, changed=False)
    rest = base[len(before) :], tuned[len(after) :]
    if any(rest):
        yield Segment(rest[0], rest[1], changed=changed)
