"""The form of a text: JSON, a list, a script; recognized without any library."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter

LIST_ITEM = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]", re.MULTILINE)
"""The beginning of a line that is an item of a list."""


def is_json(text: str) -> bool:
    """Return whether a text is a JSON object or list."""
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def script_of(text: str) -> str:
    """Return the script of most of the first 400 letters, such as `Latin` or `CJK`; "" without."""
    letters = [letter for letter in text[:400] if letter.isalpha()]
    if letters and text.isascii():
        return "Latin"
    names = Counter(unicodedata.name(letter, "").partition(" ")[0] for letter in letters)
    name = names.most_common(1)[0][0] if names else ""
    return name if name == "CJK" else name.capitalize()
