"""Visible text: a text without hidden characters, so that a value cannot be split by them.

Digits of other scripts, full-width characters, dashes and blanks become ASCII; letters of other
scripts stay.

Example:
    >>> visible_text("jo\u200b＠example.org")
    'jo@example.org'
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_TAGS = {code: chr(code - 0xE0000) for code in range(0xE0020, 0xE007F)}
"""Tag characters, which no font shows → the ASCII that a model reads in them."""
_HIDDEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""Hidden characters outside category Cf: Default_Ignorable_Code_Point of Unicode's
DerivedCoreProperties.txt, and the blank Braille pattern."""


def visible_text(text: str) -> str:
    """Return a text as a reader sees it."""
    return "".join(character for _, character in visible_characters(text))


def visible_characters(text: str) -> Iterator[tuple[int, str]]:
    """Yield the characters of `visible_text`, each with its index in the original."""
    if text.isascii():
        yield from enumerate(text)
        return
    for index, character in enumerate(text.translate(_TAGS)):
        if character.isascii():
            yield index, character
        elif unicodedata.category(character) != "Cf" and character not in _HIDDEN:
            yield index, _to_ascii(character)


@lru_cache(maxsize=4096)
def _to_ascii(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category in ("Pd", "Zs"):
        return "-" if category == "Pd" else " "
    plain = unicodedata.normalize("NFKC", character)
    return plain if plain.isascii() and len(plain) == 1 else character
