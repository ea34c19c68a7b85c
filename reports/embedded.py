"""JSON inside the page: data for its own script, which no text in it can end or become part of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from reports.escapes import marked

_MARKUP = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}
"""What HTML could read as a tag, a comment or an entity; JSON has another spelling for each."""


def text(value: Any) -> str:
    """Return a value as JSON that is safe inside a `<script>`, hidden characters written out."""
    written = json.dumps(_marked(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return written.translate(_MARKUP)


def block(name: str, content: Iterable[str]) -> Iterator[str]:
    """Yield the element that holds a JSON text, given in pieces; the browser never runs it."""
    yield f'<script type="application/json" id="{name}">'
    yield from content
    yield "</script>\n"


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else marked(value)
    if isinstance(value, dict):
        return {_marked(key): _marked(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_marked(inner) for inner in value]
    return value
