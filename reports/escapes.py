r"""Untrusted text made harmless and honest: what cannot be seen is written out as an escape.

Control characters, terminal escapes, bidirectional overrides and zero-width characters change
what a reader sees without being seen. They are shown as `\\u202e`; line breaks and tabs stay.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from markupsafe import Markup

_HIDDEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, without tab and line feed
    "\xad\u034f\u061c\u115f\u1160\u180e\u3164\uffa0"  # soft hyphen, joiners, fillers
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # zero width, separators, bidi
    "\ufff9-\ufffb\ufffe\uffff"  # annotations, noncharacters
    "\ud800-\udfff\U000e0000-\U000e007f"  # lone surrogates, tag characters
    "]"
    # Joiners shape Persian, Indic and emoji text; anywhere else they only hide.
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)


def plain(text: str) -> str:
    r"""Return `text` with every hidden character written as `\uXXXX`; not yet escaped for HTML."""
    return _HIDDEN.sub(lambda match: _name(match[0]), text)


def one_line(text: str, limit: int = 120) -> str:
    """Return `text` on one line, hidden characters written out, cut at `limit` characters."""
    line = " ".join(plain(text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def marked(text: str) -> str:
    r"""Return `text` for the page's script: each written-out character between two `\x01`.

    No text holds that character itself, as it is hidden and so written out.
    """
    return _HIDDEN.sub(lambda match: f"\x01{_name(match[0])}\x01", text)


def address(text: str) -> str:
    """Return `text`, as the page's script knows it, for a link's address."""
    return quote(marked(text), safe="")


def visible(text: str) -> Markup:
    """Return `text` escaped for HTML, each written-out character marked as such."""
    from markupsafe import Markup, escape

    out, end = Markup(""), 0
    for match in _HIDDEN.finditer(text):
        mark = Markup('<span class="esc">{}</span>').format(_name(match[0]))
        out += escape(text[end : match.start()]) + mark
        end = match.end()
    return out + escape(text[end:])


def _name(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
