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


def finder(names: Sequence[str]) -> re.Pattern[str] | None:
    """Return a pattern that finds any of the names as a word of its own, in any case of letters.

    Any white space stands for any other. A longer name wins over one it begins with: `Paris, Texas`
    holds no `Paris`. Searching takes time linear in the text. None if no name has a letter.
    """
    spelled = {
        index: r"\s++".join(map(re.escape, name.split())) for index, name in enumerate(names)
    }
    longest_first = sorted(spelled, key=lambda index: len(spelled[index]), reverse=True)
    parts = [f"(?P<n{index}>{spelled[index]})" for index in longest_first if spelled[index]]
    return re.compile(f"{BEFORE}(?:{'|'.join(parts)}){BEHIND}", re.I) if parts else None


def which(found: re.Match[str]) -> int:
    """Return the index of the name that a match of `finder` holds."""
    return int((found.lastgroup or "")[1:])


def squeeze(text: str) -> str:
    """Return `text` case-folded, with one space for each run of white space and none around."""
    return " ".join(text.casefold().split())
