r"""Escaping of untrusted text for HTML, Markdown and embedded JSON.

Control characters, terminal escapes, bidirectional overrides and zero-width characters change
what a reader sees without being seen. They are shown as `\\u202e`; line breaks and tabs stay.

Untrusted text in GitHub-flavoured Markdown: no pings, links, images, HTML or table breaks. Names
and texts go into code spans and fences longer than any run of backticks inside, where nothing is
interpreted. Sentences are escaped mark by mark, and what GitHub links by itself (`@team`, `#12`,
`https://…`) is broken by an invisible word joiner.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tunegate.harness.records.hidden_text import (
    HIDDEN,
    PERHAPS_HIDDEN,
    escape_hidden,
    name_character,
)

if TYPE_CHECKING:
    from markupsafe import Markup


def one_line(text: str, limit: int = 120) -> str:
    """Return `text` on one line, hidden characters written out, cut at `limit` characters."""
    line = " ".join(escape_hidden(text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def mark_for_script(text: str) -> str:
    r"""Return `text` for the page's script: each written-out character between two `\x01`.

    No text holds that character itself, as it is hidden and so written out.
    """
    return HIDDEN.sub(lambda match: f"\x01{name_character(match[0])}\x01", text)


def link_address(text: str) -> str:
    """Return `text`, as the page's script knows it, for a link's address."""
    return quote(mark_for_script(text), safe="")


def escape_html(text: str) -> Markup:
    """Return `text` escaped for HTML, each written-out character marked as such."""
    from markupsafe import Markup, escape

    out, end = Markup(""), 0
    for match in HIDDEN.finditer(text):
        mark = Markup('<span class="esc">{}</span>').format(name_character(match[0]))
        out += escape(text[end : match.start()]) + mark
        end = match.end()
    return out + escape(text[end:])


JOINER = "\u2060"
"""Splits a pattern for machines; people do not see it."""

_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~$=-])")
_NUMBERED = re.compile(r"^(\d+)\.")
_MENTIONS = re.compile(r"([@#]|(?i:\bGH-))(?=\w)")
_ADDRESSES = re.compile(r"((?i:\b(?:https?|ftp|mailto|xmpp)):|(?i:\bwww)(?=\.))")


def escape_markdown(text: str, limit: int = 2_000) -> str:
    """Return a sentence that renders as its own characters, on one line."""
    line = escape(one_line(text, limit), quote=False)
    # Entities hold "&#…;" only for marks escape() made, and those have no "#".
    line = _ADDRESSES.sub(rf"\1{JOINER}", line)
    line = _MENTIONS.sub(rf"\1{JOINER}", line)
    return _NUMBERED.sub(r"\1\\.", _MARKS.sub(r"\\\1", line))


def code_span(text: str, limit: int = 200) -> str:
    """Return a name as a code span, on one line, safe in a table cell too."""
    line = one_line(text, limit) or "(empty)"
    ticks = _fence(line, 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}".replace("|", "\\|")


def html_code(text: str, limit: int = 200) -> str:
    """Return a name as HTML `<code>`, for places where Markdown is not read (`<summary>`)."""
    line = escape(one_line(text, limit) or "(empty)")
    return f"<code>{line}</code>"


def fenced_block(text: str, language: str = "", *, limit: int = 4_000) -> str:
    """Return a fenced block that `text` cannot leave, cut at `limit` characters."""
    shown = escape_hidden(text[:limit])
    if len(text) > limit:
        shown += f"\n… {len(text) - limit:,} more characters in the report"
    fence = _fence(shown, 3)
    return f"{fence}{language}\n{shown}\n{fence}"


def _fence(text: str, least: int) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


_MARKUP = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""Characters of a tag, a comment or an entity in HTML; JSON has another spelling for each."""


def script_json(value: Any) -> str:
    """Return a value as JSON that is safe inside a `<script>`, hidden characters written out."""
    written = _compact_json(value)
    if any(sign in written for sign in _CONTROLS) or (
        not written.isascii() and PERHAPS_HIDDEN.search(written)
    ):
        written = _compact_json(_mark_value(value))
    for sign, spelling in _MARKUP.items():  # many times faster than `translate`
        written = written.replace(sign, spelling)
    return written


_CONTROLS = ("\x7f", "\\u00", "\\b", "\\f", "\\r")
"""The escapes in ASCII JSON of the characters that `HIDDEN` names."""

_compact_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def json_block(name: str, content: Iterable[str]) -> Iterator[str]:
    """Yield the element that holds a JSON text, given in pieces; the browser never runs it."""
    yield f'<script type="application/json" id="{name}">'
    yield from content
    yield "</script>\n"


def _mark_value(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else mark_for_script(value)
    if isinstance(value, dict):
        return {_mark_value(key): _mark_value(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mark_value(inner) for inner in value]
    return value
