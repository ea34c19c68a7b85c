"""Personal data in a text as a reader sees it, also behind percent, HTML and program escapes."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote

from tunegate.harness.production.guardrail.api_formats import all_texts
from tunegate.harness.production.guardrail.visible_text import visible_text
from tunegate.harness.telemetry.export.redaction import KINDS, personal_values

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
"""An escaped character in JSON or a program, such as `\\u0040` for `@`."""


def personal_data(
    text: str, kinds: tuple[str, ...] = KINDS, keep: Collection[str] = ()
) -> Counter[str]:
    """Return how often each kind of data is in a text, without the values to `keep`."""
    counts: Counter[str] = Counter()
    for reading in _plain_readings(text):
        values = ((kind, reading[a:b]) for kind, a, b in personal_values(reading))
        counts |= Counter(kind for kind, value in values if value not in keep)
    return Counter({kind: counts[kind] for kind in kinds if counts[kind]})


def known_values(request: Mapping[str, Any]) -> frozenset[str]:
    """Return the personal data in a request: an answer that repeats it leaks nothing."""
    texts = [reading for text in all_texts(request) for reading in _plain_readings(text)]
    return frozenset(text[a:b] for text in texts for _, a, b in personal_values(text))


def _plain_readings(text: str) -> list[str]:
    """Return a text as a reader sees it, and with percent, HTML and program escapes undone."""
    seen = visible_text(text)
    escaped = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), seen)
    return list(dict.fromkeys((seen, visible_text(html.unescape(unquote(escaped))))))
