r"""Hidden characters, and what a terminal or the log of a CI obeys, in texts that others wrote.

Control characters, terminal escapes, bidirectional overrides and zero-width characters change
what a reader sees without being seen. They are shown as `\\u202e`; line breaks and tabs stay.
"""

from __future__ import annotations

import re

_ALWAYS_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, without tab and line feed
    "\xad\u034f\u061c\u115f\u1160\u180e\u3164\uffa0"  # soft hyphen, joiners, fillers
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # zero width, separators, bidi
    "\ufff9-\ufffb\ufffe\uffff"  # annotations, noncharacters
    "\ud800-\udfff\U000e0000-\U000e007f"  # lone surrogates, tag characters
)
HIDDEN = re.compile(
    f"[{_ALWAYS_HIDDEN}]"
    # Joiners shape Persian, Indic and emoji text; anywhere else they only hide.
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)

PERHAPS_HIDDEN = re.compile(f"[{_ALWAYS_HIDDEN}\u200c\u200d]")
"""Finds a text to look at in full: one class of characters is searched for many times faster."""


def escape_hidden(text: str) -> str:
    r"""Return `text` with every hidden character written as `\uXXXX`; not yet escaped for HTML."""
    if PERHAPS_HIDDEN.search(text) is None:
        return text
    return HIDDEN.sub(lambda match: name_character(match[0]), text)


_COMMANDS = re.compile(r"^([^\S\n]*)::|##(\w*)\[", re.MULTILINE)


def escape_terminal(text: str) -> str:
    r"""Return `text` with what a terminal or the log of a CI would obey written out or split.

    GitHub Actions obeys a line that begins with `::` and `##[` in a line, Azure Pipelines `##vso[`
    anywhere in a line (`Command.TryParse` of its agent), TeamCity `##teamcity[`.
    """
    return _COMMANDS.sub(
        lambda found: f"{found[1]}: :" if found[2] is None else f"## {found[2]}[",
        escape_hidden(text),
    )


def name_character(character: str) -> str:
    r"""Return a character as `\uXXXX`."""
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
