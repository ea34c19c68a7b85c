"""Differences of two texts: by word for the page, by line for code and for Markdown.

Words and punctuation marks are compared; white space travels with the word after it and is never
marked. In code, where it has a meaning, whole lines are. Work is bounded: rapidfuzz's opcodes over
at most `WORD_LIMIT` words or lines a side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rapidfuzz.distance import Opcodes


@dataclass(frozen=True, slots=True)
class DiffSegment:
    """A stretch of both texts: what base has there, and what tuned has."""

    base: str
    tuned: str
    changed: bool
    """False where the words or lines are the same; white space between or after them may differ."""


@dataclass(frozen=True, slots=True)
class TextDiff:
    """Both texts, stretch by stretch: joined, the stretches of a side are its text."""

    segments: tuple[DiffSegment, ...]
    note: str | None = None
    """Note for the reader: a side was cut, or only white space differs."""


WORD_LIMIT = 2_000
"""Words, or lines of code, compared and shown of each side."""

CHARACTERS = 20_000
"""Characters shown of any one text."""

_WIDE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"

_WORD = re.compile(rf"\s*(?:[{_WIDE}]|(?:(?![{_WIDE}])\w)+|[^\w\s])")


def compare_texts(base: str, tuned: str) -> TextDiff:
    """Return both texts in stretches, marked where they differ."""
    if base == tuned and len(base) <= WORD_LIMIT:  # which has no more words than characters
        return TextDiff(tuple(_segment(base, tuned, changed=False)))
    left, left_cut = _words(base)
    right, right_cut = _words(tuned)
    segments = tuple(_segments(left, right))
    return TextDiff(segments, _note(segments, "words" if left_cut or right_cut else None))


def compare_lines(base: str, tuned: str) -> TextDiff:
    """Return both texts in stretches of whole lines, marked where they differ."""
    (left, left_cut), (right, right_cut) = map(_code_lines, (base, tuned))
    segments = tuple(
        DiffSegment("".join(ours), "".join(theirs), changed=changed)
        for changed, ours, theirs in _line_stretches(left, right)
    )
    return TextDiff(segments, _note(segments, "lines" if left_cut or right_cut else None))


def _note(segments: Sequence[DiffSegment], cut: str | None) -> str | None:
    if cut is not None:
        return f"Shown up to {WORD_LIMIT:,} {cut} a side; cells.jsonl holds the whole text."
    if any(segment.changed for segment in segments) or all(s.base == s.tuned for s in segments):
        return None
    return "The completions differ in white space only."


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
    out: list[str] = []
    for changed, left, right in _line_stretches(_lines(base), _lines(tuned)):
        out += [f"{'-' if changed else ' '} {line}" for line in left]
        out += [f"+ {line}" for line in right if changed]
    return "\n".join(out)


def _line_stretches(
    left: Sequence[str], right: Sequence[str]
) -> Iterator[tuple[bool, Sequence[str], Sequence[str]]]:
    """Yield stretches of lines that both have, and between them what each side has instead."""
    from rapidfuzz.distance import Indel

    def without_end(lines: Sequence[str]) -> list[str]:
        return [line.removesuffix("\n") for line in lines]

    opcodes = Indel.opcodes(without_end(left), without_end(right))
    for equal, run in groupby(opcodes, key=lambda op: op.tag == "equal"):
        ops = list(run)
        ours = left[ops[0].src_start : ops[-1].src_end]
        yield not equal, ours, right[ops[0].dest_start : ops[-1].dest_end]


def _code_lines(text: str) -> tuple[list[str], bool]:
    """Return the lines of a code with their ends, and whether it was cut."""
    shown, missing = cut_text(text)
    lines = re.findall(r"[^\n]*\n|[^\n]+", shown)
    return lines[:WORD_LIMIT], missing > 0 or len(lines) > WORD_LIMIT


def _lines(text: str) -> list[str]:
    lines = text.split("\n") if text else ["(empty)"]
    more = len(lines) - LINE_LIMIT
    return lines if more <= 0 else [*lines[:LINE_LIMIT], f"({more} more lines)"]
