r"""Names in running text: where a word begins and ends, and which of several names a text holds.

`\b` will not do: scripts without spaces put a letter right behind a word, and `\b` finds `toxic` in
`non-toxic`. Here a name ends where no cased letter, digit or underscore follows, and a hyphen or a
decimal point joins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LETTER = "A-Za-z\u00c0-\u02af\u0370-\u052f"
"""Latin, Greek and Cyrillic letters, for use inside a character class: scripts with spaces."""

BEFORE = rf"(?<![{LETTER}\d_])(?<![{LETTER}\d]-)(?<!\d[.,])"
"""Where a name may begin."""
BEHIND = rf"(?![{LETTER}\d_])(?!-[{LETTER}\d])(?![.,]\d)"
"""Where it may end."""


def name_pattern(names: Sequence[str], text: str) -> re.Pattern[str] | None:
    """Return a pattern that finds any of the names in `text`, as a word of its own.

    Case of letters does not count, and any white space stands for any other. A longer name wins
    over one it begins with: `Paris, Texas` holds no `Paris`. Searching takes time linear in the
    text. None if the text holds none of the names.
    """
    folded = text.casefold()
    parts = {}
    for index, name in enumerate(names):
        words = name.split()
        # Compiling a name takes longer than finding out that its words are not there.
        if words and all(word.casefold() in folded for word in words):
            spelled = r"\s++".join(map(re.escape, words))
            parts[f"(?P<n{index}>{spelled})"] = len(name)
    longest_first = "|".join(sorted(parts, key=lambda part: parts[part], reverse=True))
    return re.compile(f"{BEFORE}(?:{longest_first}){BEHIND}", re.I) if parts else None


def matched_index(found: re.Match[str]) -> int:
    """Return the index of the name that a match of `name_pattern` holds."""
    return int((found.lastgroup or "")[1:])


def normalize_text(text: str) -> str:
    """Return `text` case-folded, with one space for each run of white space and none around."""
    return " ".join(text.casefold().split())
