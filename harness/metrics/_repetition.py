"""Loops in a text: a unit of words or characters that repeats back to back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.metrics._json_parsing import shorten_text

_REPEATS = 4
_SHARE = 0.3
_SHARE_OF_SIGNS = 0.5


@dataclass(frozen=True, slots=True)
class _RepetitionRule:
    """Thresholds of the rule for words or for characters."""

    joint: str
    """Separator of two of them."""
    longest_unit: int
    short_run: int
    """Shortest run that can count."""
    long_run: int
    """Run that counts in a text of any length."""


_WORDS = _RepetitionRule(" ", longest_unit=200, short_run=8, long_run=20)
_CHARACTERS = _RepetitionRule("", longest_unit=64, short_run=40, long_run=200)


def loop_in(text: str) -> str | None:
    """Return the first loop of a text in words, such as `'no' occurs 30 times in a row`, or None.

    A unit of 1 to 200 words (or 1 to 64 characters) at least 4 times in a row. The run must cover
    20 words (200 characters), or 8 words (40 characters) and 30 % of the text. A unit without a
    letter or digit must cover half of the text.
    """
    import numpy as np

    text = text.strip()
    words, loop = text.split(), None
    longest = _longest_unit(words)
    if longest:
        numbers: dict[str, int] = {}
        ids = np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int64)
        loop = _loop(words, ids, _WORDS, longest)
    if loop is None and _repeats_characters(text):
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        loop = _loop(text, points, _CHARACTERS, _CHARACTERS.longest_unit)
    return loop


# Most texts hold no loop. A run that covers r parts with the period p holds each stretch of r - p
# parts twice, p apart; r - p is at least 6 words or 30 characters under the rules above, and 3 p.


def _longest_unit(words: Sequence[str]) -> int:
    """Return how long the unit of a loop can be: its repeats hold 3 p - 2 triples seen earlier."""
    seen_earlier = len(words) - 2 - len(set(zip(words, words[1:], words[2:], strict=False)))
    return min(_WORDS.longest_unit, (seen_earlier + 2) // 3) if seen_earlier > 0 else 0


def _repeats_characters(text: str) -> bool:
    """Return whether 15 characters repeat within the longest unit, as they do in every loop."""
    size = 15  # one of the places 0, 15, 30 … is within the first 15 characters of a loop
    return any(
        text.find(text[at : at + size], at + 1, at + size + _CHARACTERS.longest_unit) >= 0
        for at in range(0, len(text) - size, size)
    )


def _loop(parts: Sequence[str], ids: Any, scale: _RepetitionRule, longest: int) -> str | None:
    """Return the first loop in words, or None; one pass for each length of unit."""
    for size in range(1, longest + 1):
        for start, run in _runs(ids, size, max(scale.short_run, _REPEATS * size)):
            unit = scale.joint.join(parts[start : start + size])
            if _is_loop(unit, run, run / len(parts), scale):
                return shorten_text(f"{unit!r} occurs {run // size} times in a row")
    return None


def _runs(ids: Any, size: int, shortest: int) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of each stretch of `shortest` or more that has the period `size`."""
    import numpy as np

    if len(ids) < shortest:
        return
    breaks = np.flatnonzero(ids[size:] != ids[:-size])
    edges = np.concatenate(([-1], breaks, [len(ids) - size]))
    lengths = np.diff(edges) - 1 + size
    for index in np.flatnonzero(lengths >= shortest):
        yield int(edges[index]) + 1, int(lengths[index])


def _is_loop(unit: str, run: int, share: float, scale: _RepetitionRule) -> bool:
    if any(character.isalnum() for character in unit):
        return run >= scale.long_run or share >= _SHARE
    return share >= _SHARE_OF_SIGNS
