"""Counts of words, sentences, bullets and other units of a text.

Every count takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

_DIVIDER = re.compile(r"(?<!\*)\*\*\*(?!\*)")


def split_lines(text: str) -> list[str]:
    """Return the lines that are not blank."""
    return [line for line in text.split("\n") if line.strip()]


def split_parts(text: str) -> list[str]:
    """Return the stretches between `***` dividers that are not blank."""
    return [part for part in _DIVIDER.split(text) if part.strip()]


def split_paragraphs(text: str) -> list[str]:
    """Return the stretches between blank lines."""
    blocks: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return ["\n".join(block) for block in blocks if block]


_BULLET = re.compile(r"\s*+[-*+•]\s++\S")
_NUMBERED = re.compile(r"\s*+\d{1,9}[.)]\s++\S")
_HEADING = re.compile(r" {0,3}#{1,6}\s++\S")
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]++\]")
_HIGHLIGHT = re.compile(r"(\*{1,3}+)(?=\S)[^*\n]++(?<=\S)\1")

_WIDE_STOP = re.compile(r"([。！？｡]++)")

_OPENERS = "\"'“‘«([*_"
_CLOSERS = "\"'”’»)]*_"
_STOPS = (".", "!", "?", "…", "。", "！", "？", "｡")
_TITLES = re.compile(
    r"(?:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e|cf|fig|no|approx|gen|rep|sen|rev|capt|ca|viz|al)\."
)
"""Abbreviations after which a sentence goes on."""
_AMBIGUOUS = re.compile(r"(?:etc|inc|ltd|co|corp|jr|sr|dept|est)\.")
"""Abbreviations that end a sentence where a capital follows."""
_DOTTED = re.compile(r"(?:[^\W\d_]\.)++")
"""Initials and the like: `J.`, `U.S.`, `p.m.`."""
_INITIAL = re.compile(r"[A-Z]\.")


def split_words(text: str) -> list[str]:
    """Return the words that hold a letter or a digit."""
    return [word for word in text.split() if any(map(str.isalnum, word))]


def count_sentences(text: str) -> int:
    """Return how many sentences there are; a list item and a heading are at least one each."""
    return sum(map(_sentences_of, _blocks(text)))


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield the words of each paragraph, list item and heading, without list markers."""
    for paragraph in split_paragraphs(_WIDE_STOP.sub(r"\1 ", text)):
        block: list[str] = []
        for line in paragraph.split("\n"):
            marked = _starts_block(line)
            if marked:
                yield block
                block = []
            block += line.split()[1:] if marked else line.split()
        yield block


def _starts_block(line: str) -> bool:
    return any(pattern.match(line) for pattern in (_BULLET, _NUMBERED, _HEADING))


def _sentences_of(block: list[str]) -> int:
    count, has_text = 0, False
    for word, following in pairwise([*block, ""]):
        has_text = has_text or any(map(str.isalnum, word))
        if has_text and _ends_sentence(word, following):
            count, has_text = count + 1, False
    return count + has_text


def _ends_sentence(word: str, following: str) -> bool:
    bare = word.rstrip(_CLOSERS)
    if not bare.endswith(_STOPS):
        return False
    plain = bare.lstrip(_OPENERS)
    if _TITLES.fullmatch(plain.lower()) or _INITIAL.fullmatch(plain):
        return False
    goes_on = following.lstrip(_OPENERS)[:1].islower()
    open_ended = _AMBIGUOUS.fullmatch(plain.lower()) or _DOTTED.fullmatch(plain)
    trailing = bare.endswith(("...", "…")) or (bare != word and not bare.endswith("."))
    return not (goes_on and (open_ended or trailing))


def _bullets(text: str) -> int:
    """Count list items; a divider such as `* * *` is not one."""
    items = [line for line in text.split("\n") if _BULLET.match(line)]
    return sum(len(set("".join(item.split()))) > 1 for item in items)


def _capital_words(text: str) -> int:
    return sum(word.isupper() for word in split_words(text))


def _matching_lines(pattern: re.Pattern[str]) -> Callable[[str], int]:
    return lambda text: sum(pattern.match(line) is not None for line in text.split("\n"))


def _matches(pattern: re.Pattern[str]) -> Callable[[str], int]:
    return lambda text: sum(1 for _ in pattern.finditer(text))


COUNTS: dict[str, Callable[[str], int]] = {
    "words": lambda text: len(split_words(text)),
    "characters": lambda text: len(text.strip()),
    "sentences": count_sentences,
    "lines": lambda text: len(split_lines(text)),
    "paragraphs": lambda text: len(split_paragraphs(text)),
    "parts": lambda text: len(split_parts(text)),
    "bullets": _bullets,
    "numbered": _matching_lines(_NUMBERED),
    "headings": _matching_lines(_HEADING),
    "placeholders": _matches(_PLACEHOLDER),
    "highlights": _matches(_HIGHLIGHT),
    "capital_words": _capital_words,
}
"""Unit → its count in a text."""
