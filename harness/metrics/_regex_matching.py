"""Regular expression matching, run in a child process: Python's `re` cannot be interrupted."""

from __future__ import annotations

import re


def pattern_problem(pattern: str) -> str | None:
    """Return what is wrong with a pattern, or None."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error) or type(error).__name__
    return None


def any_match(patterns: list[str], text: str, mode: str) -> bool:
    """Return whether one of the patterns matches: somewhere (`search`) or the whole text."""
    return any(getattr(re, mode)(pattern, text) is not None for pattern in patterns)
