"""Untrusted text in GitHub-flavoured Markdown: no pings, links, images, HTML or table breaks.

Names and texts go into code spans and fences longer than any run of backticks inside, where
nothing is interpreted. Sentences are escaped mark by mark, and what GitHub links by itself
(`@team`, `#12`, `https://…`) is broken by an invisible word joiner.
"""

from __future__ import annotations

import re
from html import escape

from reports.escapes import one_line, plain

JOINER = "\u2060"
"""Splits a pattern for machines; people do not see it."""

_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~$=-])")
_NUMBERED = re.compile(r"^(\d+)\.")
_MENTIONS = re.compile(r"([@#]|(?i:\bGH-))(?=\w)")
_ADDRESSES = re.compile(r"((?i:\b(?:https?|ftp|mailto|xmpp)):|(?i:\bwww)(?=\.))")


def prose(text: str, limit: int = 2_000) -> str:
    """Return a sentence that renders as its own characters, on one line."""
    line = escape(one_line(text, limit), quote=False)
    # Entities hold "&#…;" only for marks escape() made, and those have no "#".
    line = _ADDRESSES.sub(rf"\1{JOINER}", line)
    line = _MENTIONS.sub(rf"\1{JOINER}", line)
    return _NUMBERED.sub(r"\1\\.", _MARKS.sub(r"\\\1", line))


def code(text: str, limit: int = 200) -> str:
    """Return a name as a code span, on one line, safe in a table cell too."""
    line = one_line(text, limit) or "(empty)"
    ticks = _fence(line, 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}".replace("|", "\\|")


def html_code(text: str, limit: int = 200) -> str:
    """Return a name as HTML `<code>`, for places where Markdown is not read (`<summary>`)."""
    line = escape(one_line(text, limit) or "(empty)")
    return f"<code>{line}</code>"


def block(text: str, language: str = "", *, limit: int = 4_000) -> str:
    """Return a fenced block that `text` cannot leave, cut at `limit` characters."""
    shown = plain(text[:limit])
    if len(text) > limit:
        shown += f"\n… {len(text) - limit:,} more characters in the report"
    fence = _fence(shown, 3)
    return f"{fence}{language}\n{shown}\n{fence}"


def _fence(text: str, least: int) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)
