"""Escaping for pytest's terminal: no control characters, no workflow commands, bounded length.

A lone surrogate ends an xdist session with lost results, and a line that begins with `::` is
obeyed by GitHub Actions, so neither leaves this module.
"""

from __future__ import annotations

import re

LIMIT = 2_000
"""Characters of a text; what is cut stands in the report."""

_HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_COMMANDS = re.compile(r"^(\s*)::|##\[", re.MULTILINE)


def inert(text: str) -> str:
    r"""Return `text` with what a terminal or CI would obey written as `\uXXXX` or split."""
    shown = text if len(text) <= LIMIT else text[: LIMIT - 1] + "…"
    shown = _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", shown)
    return _COMMANDS.sub(lambda m: "## [" if m[0] == "##[" else f"{m[1]}: :", shown)
